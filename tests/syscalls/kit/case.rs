//! How a case is declared and found.
//!
//! `case!(name: call, call; flag);` stands before `fn name()`. The entries land in a linker section of their own, so
//! that there is no list to keep.

/// One case.
#[derive(Debug)]
pub struct Case {
    /// The module, whose last part is the family.
    pub module: &'static str,
    /// The function.
    pub function: &'static str,
    /// The system calls that it covers, by the kernel's names.
    pub covers: &'static [&'static str],
    /// `root`: needs user id 0 and the usual capabilities.
    pub flags: &'static [&'static str],
    /// The case itself; returning is passing.
    pub run: fn(),
}

impl Case {
    /// `family/function`.
    pub fn name(&self) -> String {
        let family = self.module.rsplit("::").next().unwrap_or(self.module);
        format!("{family}/{}", self.function)
    }

    /// Whether it needs user id 0.
    pub fn needs_root(&self) -> bool {
        self.flags.contains(&"root")
    }
}

/// Declares the function of that name as a case; see the module.
#[macro_export]
macro_rules! case {
    ($name:ident: $($call:ident),+ $(; $flag:ident)* $(;)?) => {
        const _: () = {
            // A call that does not exist stops the compiler here.
            $(#[allow(unused)] const _: i64 = $crate::kit::numbers::nr::$call;)+
            static CASE: $crate::kit::case::Case = $crate::kit::case::Case {
                module: module_path!(),
                function: stringify!($name),
                covers: &[$(stringify!($call)),+],
                flags: &[$(stringify!($flag)),*],
                run: $name,
            };
            #[used]
            #[unsafe(link_section = "conformance_cases")]
            static ENTRY: &$crate::kit::case::Case = &CASE;
        };
    };
}

unsafe extern "C" {
    #[link_name = "__start_conformance_cases"]
    static FIRST: [*const (); 0];
    #[link_name = "__stop_conformance_cases"]
    static END: [*const (); 0];
}

/// Every case, by name.
pub fn all() -> Vec<&'static Case> {
    let first: *const &'static Case = (&raw const FIRST).cast();
    let end: *const &'static Case = (&raw const END).cast();
    let count = (end as usize - first as usize) / size_of::<&Case>();
    // SAFETY: the linker puts the entries of the section side by side between the two symbols, and `case!` is the only
    // one who writes there.
    let mut cases = unsafe { std::slice::from_raw_parts(first, count) }.to_vec();
    cases.sort_by_key(|case| case.name());
    cases
}

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
    /// `root`: needs user id 0 and the usual capabilities. `disk`: run again on other file
    /// systems: as `NAME@disk` with the scratch directory on the root file system, which in the sandbox is the overlay, and
    /// as `NAME@exclusive` and `NAME@shared` on volumes, which in the sandbox are the Gofer's, and as `NAME@layer` on a root
    /// whose changes go to a file of the host.
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

    /// Whether it also runs on the other file systems.
    pub fn also_on_disk(&self) -> bool {
        self.flags.contains(&"disk")
    }
}

/// Where the scratch directory of a run lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// On a tmpfs.
    Memory,
    /// On the root file system.
    Disk,
    /// On a volume that is the sandbox's alone.
    Exclusive,
    /// On a volume that others may change.
    Shared,
    /// On the root file system, where changes go to a file of the host.
    Layer,
}

impl Scratch {
    /// What comes behind the name of a case that runs there.
    pub fn suffix(self) -> &'static str {
        match self {
            Scratch::Memory => "",
            Scratch::Disk => "@disk",
            Scratch::Exclusive => "@exclusive",
            Scratch::Shared => "@shared",
            Scratch::Layer => "@layer",
        }
    }
}

/// A case and where it is to run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The case.
    pub case: &'static Case,
    /// Its scratch directory.
    pub scratch: Scratch,
}

impl Run {
    /// `family/function`, with `@disk` and the like behind it where that is so.
    pub fn name(&self) -> String {
        format!("{}{}", self.case.name(), self.scratch.suffix())
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

/// Every run of every case, by name.
pub fn runs() -> Vec<Run> {
    let everywhere = [Scratch::Memory, Scratch::Disk, Scratch::Exclusive, Scratch::Shared, Scratch::Layer];
    let places = |case: &Case| if case.also_on_disk() { &everywhere[..] } else { &everywhere[..1] };
    let of_case = |case| places(case).iter().map(move |&scratch| Run { case, scratch });
    all().into_iter().flat_map(of_case).collect()
}

/// Every case, by name.
fn all() -> Vec<&'static Case> {
    let first: *const &'static Case = (&raw const FIRST).cast();
    let end: *const &'static Case = (&raw const END).cast();
    let count = (end as usize - first as usize) / size_of::<&Case>();
    // SAFETY: the linker puts the entries of the section side by side between the two symbols, and `case!` is the only
    // one who writes there.
    let mut cases = unsafe { std::slice::from_raw_parts(first, count) }.to_vec();
    cases.sort_by_key(|case| case.name());
    cases
}

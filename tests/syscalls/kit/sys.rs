//! Raw system calls: `sys!(name, arguments…)` issues exactly that call and gives `Result<i64, Errno>`.

use std::arch::asm;
use std::ffi::CStr;

use super::errno::Errno;

/// What the kernel answered.
pub type Answer = Result<i64, Errno>;

/// Something that fits into an argument register.
pub trait Arg {
    /// The register's value.
    fn arg(self) -> u64;
}

macro_rules! int_args {
    ($($t:ty),*) => {
        $(impl Arg for $t {
            fn arg(self) -> u64 {
                self as i64 as u64
            }
        })*
    };
}
int_args!(i8, i16, i32, i64, isize, u8, u16);

impl Arg for u32 {
    fn arg(self) -> u64 {
        u64::from(self)
    }
}
impl Arg for u64 {
    fn arg(self) -> u64 {
        self
    }
}
impl Arg for usize {
    fn arg(self) -> u64 {
        self as u64
    }
}
impl<T: ?Sized> Arg for *const T {
    fn arg(self) -> u64 {
        self.cast::<u8>() as u64
    }
}
impl<T: ?Sized> Arg for *mut T {
    fn arg(self) -> u64 {
        self.cast::<u8>() as u64
    }
}
impl<T> Arg for &T {
    fn arg(self) -> u64 {
        std::ptr::from_ref(self) as u64
    }
}
impl<T> Arg for &mut T {
    fn arg(self) -> u64 {
        std::ptr::from_mut(self) as u64
    }
}
impl<T> Arg for &[T] {
    fn arg(self) -> u64 {
        self.as_ptr() as u64
    }
}
impl<T> Arg for &mut [T] {
    fn arg(self) -> u64 {
        self.as_mut_ptr() as u64
    }
}
impl Arg for &CStr {
    fn arg(self) -> u64 {
        self.as_ptr() as u64
    }
}
/// Issues the call and returns rax unchanged.
///
/// # Safety
/// The caller answers for what the call does to this process's memory.
#[inline(always)]
pub unsafe fn raw(number: i64, a: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel changes only rax, rcx, r11 and what the arguments name, for which the caller answers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The same; missing arguments are zero.
///
/// # Safety
/// As for [`raw`].
#[inline(always)]
pub unsafe fn invoke(number: i64, given: &[u64]) -> i64 {
    let mut all = [0u64; 6];
    for (slot, value) in all.iter_mut().zip(given) {
        *slot = *value;
    }
    // SAFETY: handed on to the caller.
    unsafe { raw(number, all) }
}

/// Splits rax into value and error number.
#[inline(always)]
pub fn answer(rax: i64) -> Answer {
    if (-4095..0).contains(&rax) { Err(Errno(-rax as i32)) } else { Ok(rax) }
}

/// `sys!(openat, AT_FDCWD, c"name", O_RDONLY, 0)`: the call by the kernel's name; missing arguments are zero.
#[macro_export]
macro_rules! sys {
    ($name:ident $(, $arg:expr)* $(,)?) => {
        $crate::sys_number!($crate::kit::numbers::nr::$name $(, $arg)*)
    };
}

/// The same by number.
#[macro_export]
macro_rules! sys_number {
    ($number:expr $(, $arg:expr)* $(,)?) => {{
        // `match` keeps temporaries of the arguments alive until the call has returned.
        match ($number, &[$($crate::kit::sys::Arg::arg($arg)),*] as &[u64]) {
            (number, given) => {
                // SAFETY: a case passes memory that it owns and that lives until the call returns, or memory that is
                // wrong on purpose in a process of its own; nothing but that case is at risk.
                $crate::kit::sys::answer(unsafe { $crate::kit::sys::invoke(number, given) })
            }
        }
    }};
}

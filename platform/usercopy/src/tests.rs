use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};

use super::*;

/// Two pages of a memfd, mapped shared.
struct Mapping {
    file: File,
    at: *mut u8,
}

impl Mapping {
    fn new() -> Mapping {
        install().expect("handler");
        // SAFETY: plain calls on a fresh fd; the mapping is owned by the returned value.
        unsafe {
            let fd = libc::memfd_create(c"usercopy".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0);
            let file = File::from_raw_fd(fd);
            file.set_len(8192).expect("set_len");
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(std::ptr::null_mut(), 8192, prot, libc::MAP_SHARED, file.as_raw_fd(), 0);
            assert_ne!(at, libc::MAP_FAILED);
            Mapping { file, at: at.cast() }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and goes with us.
        unsafe { libc::munmap(self.at.cast(), 8192) };
    }
}

#[test]
fn copies_every_small_size_at_every_alignment() {
    install().expect("handler");
    let src: Vec<u8> = (0..2048u32).map(|i| (i * 7 + 3) as u8).collect();
    for len in (0..520).chain([1024, 1500]) {
        for shift in [0, 1, 3, 8, 13] {
            let mut dst = vec![0xee_u8; 2048];
            // SAFETY: both ranges lie inside the vectors.
            unsafe { copy(dst.as_mut_ptr().add(shift), src.as_ptr().add(shift * 2), len) }.expect("copy");
            assert_eq!(&dst[shift..shift + len], &src[shift * 2..shift * 2 + len], "len {len}");
            assert!(dst[..shift].iter().chain(&dst[shift + len..]).all(|&b| b == 0xee), "len {len}");
        }
    }
}

#[test]
fn zeroes_just_the_range() {
    install().expect("handler");
    let mut bytes = [1u8; 100];
    // SAFETY: inside the array.
    unsafe { zero(bytes.as_mut_ptr().add(10), 50) }.expect("zero");
    assert!(bytes[10..60].iter().all(|&b| b == 0));
    assert!(bytes[..10].iter().chain(&bytes[60..]).all(|&b| b == 1));
}

#[test]
fn a_truncated_file_is_an_error() {
    let m = Mapping::new();
    let mut bytes = [7u8; 5000];
    // SAFETY: addresses are of the mapping and of the array.
    unsafe {
        copy(m.at, bytes.as_ptr(), 5000).expect("backed");
        m.file.set_len(4096).expect("truncate");
        assert_eq!(copy(m.at, bytes.as_ptr(), 5000), Err(Fault));
        assert_eq!(copy(bytes.as_mut_ptr(), m.at.add(4000), 200), Err(Fault));
        for len in [1, 2, 4, 8, 16, 40, 300] {
            assert_eq!(copy(bytes.as_mut_ptr(), m.at.add(4096), len), Err(Fault));
            assert_eq!(copy(m.at.add(4096), bytes.as_ptr(), len), Err(Fault));
        }
        assert_eq!(zero(m.at.add(4090), 10), Err(Fault));
        assert_eq!(load_u32(m.at.add(4096).cast()), Err(Fault));
        assert_eq!(compare_exchange_u32(m.at.add(4096).cast(), 0, 1), Err(Fault));
        assert_eq!(load_u32(m.at.cast()), Ok(0x0707_0707));
    }
}

#[test]
fn an_unmapped_address_is_an_error() {
    install().expect("handler");
    let mut byte = 0u8;
    // SAFETY: nothing is mapped at these addresses, so nothing is touched (the second is not canonical).
    unsafe {
        assert_eq!(copy(&mut byte, std::ptr::without_provenance(8), 1), Err(Fault));
        assert_eq!(copy(&mut byte, std::ptr::without_provenance(0x8000_0000_0000_0000), 1), Err(Fault));
    }
}

#[test]
fn words_are_exchanged() {
    let m = Mapping::new();
    let word = m.at.cast::<u32>();
    // SAFETY: an aligned word of the mapping.
    unsafe {
        assert_eq!(compare_exchange_u32(word, 0, u32::MAX), Ok(Ok(0)));
        assert_eq!(compare_exchange_u32(word, 0, 5), Ok(Err(u32::MAX)));
        assert_eq!(load_u32(word), Ok(u32::MAX));
        assert_eq!(compare_exchange_u32(word, u32::MAX, 5), Ok(Ok(u32::MAX)));
        assert_eq!(load_u32(word), Ok(5));
    }
}

const IN_CHILD: &str = "RUNSC_TEST_FAULT";

/// Not a test of its own: the process of the next one.
#[test]
fn process_that_faults() {
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    install().expect("handler");
    // SAFETY: none: the fault is what the test is about. Nothing is mapped there.
    unsafe { std::ptr::without_provenance::<u8>(0x1238).read_volatile() };
}

#[test]
fn any_other_fault_ends_the_process_with_a_message() {
    use std::os::unix::process::ExitStatusExt;
    let child = std::process::Command::new(std::env::current_exe().expect("self"))
        .args(["--exact", "tests::process_that_faults", "--nocapture"])
        .env(IN_CHILD, "1")
        .output()
        .expect("run");
    assert_eq!(child.status.signal(), Some(libc::SIGSEGV));
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(text.contains("fatal: SIGSEGV code 0x1 address 0x1238 rip 0x"), "{text}");
}

//! Random bytes of the host.

use std::io::Result;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `buffer` from the host's random number generator (getrandom(2)).
pub fn fill(buffer: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match getrandom(&mut buffer[done..], GetRandomFlags::empty()) {
            Ok(n) => done += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

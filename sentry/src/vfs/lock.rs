//! File locks: flock(2), POSIX and open-file-description locks of fcntl(2).

/// Locks of one file.
#[derive(Default)]
pub struct FileLocks {}

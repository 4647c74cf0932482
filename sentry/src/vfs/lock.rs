//! File locks: flock(2), POSIX and open-file-description locks of fcntl(2).

/// Locks of one file.
#[derive(Default)]
pub struct FileLocks {}

impl FileLocks {
    /// Gives up all POSIX locks of the table `owner`.
    pub fn release_posix(&self, _owner: u64) {}

    /// Gives up all locks of the description `file`.
    pub fn release_file(&self, _file: u64) {}
}

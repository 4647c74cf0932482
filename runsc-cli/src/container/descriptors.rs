//! Descriptors that a command was started with besides the standard ones: those that the container's process is to get
//! (`--preserve-fds`, and LISTEN_FDS of sd_listen_fds(3)), and others, which nobody is to keep open.

use std::os::fd::{OwnedFd, RawFd};

use crate::sandbox::control::MOST_PASSED;

/// The first of them.
const FIRST: RawFd = 3;

/// Why they can't be passed on.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// One is not open.
    #[error("--preserve-fds: descriptor {0} is not open; open it, or preserve fewer")]
    Closed(RawFd),
    /// More than a message carries.
    #[error("--preserve-fds: {0} descriptors with those of LISTEN_FDS; {MOST_PASSED} are the most")]
    Many(usize),
}

/// What a command was started with.
#[derive(Debug, Default)]
pub struct Descriptors {
    /// What the process gets, from 3 on.
    pub passed: Vec<OwnedFd>,
    /// The environment that tells it of those that systemd passed on.
    pub env: Vec<String>,
    /// Descriptors that are not its.
    pub others: Vec<RawFd>,
}

/// Takes them. To be called before this process has opened anything itself.
pub fn take(preserve: u32, listening: usize) -> Result<Descriptors, DescriptorError> {
    let count = listening.saturating_add(preserve as usize);
    if count > MOST_PASSED {
        return Err(DescriptorError::Many(count));
    }
    let take = |number| host::process::inherited_fd(number).map_err(|_| DescriptorError::Closed(number));
    let passed = (FIRST..).take(count).map(take).collect::<Result<Vec<_>, _>>()?;
    let env = match listening {
        0 => Vec::new(),
        // As runc has it: the process is the first of its namespace.
        count => vec![format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()],
    };
    Ok(Descriptors { passed, env, others: open_from(FIRST + count as RawFd) })
}

/// How many descriptors systemd, or who does as it does, has passed on to this very process.
pub fn listening() -> usize {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    if number("LISTEN_PID") != Some(std::process::id() as usize) {
        return 0;
    }
    number("LISTEN_FDS").unwrap_or(0)
}

fn open_from(first: RawFd) -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let open: Vec<RawFd> = numbers.filter(|number| *number >= first).collect();
    // What the directory was read with is not among them any more.
    open.into_iter()
        .filter(|number| std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn open_descriptors_are_seen_and_the_directorys_own_is_not() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let open = open_from(FIRST);
        assert!(open.contains(&file.as_raw_fd()), "{open:?}");
    }

    #[test]
    fn too_many_are_refused() {
        assert!(matches!(take(u32::MAX, 1), Err(DescriptorError::Many(_))));
        assert!(matches!(take(MOST_PASSED as u32, 1), Err(DescriptorError::Many(_))));
    }
}

//! Mount options of tmpfs.

use std::fmt;

use abi::Errno;
use platform::PAGE_SIZE;

use crate::Result;
use crate::mm::total_memory;

/// Options, with their defaults: half of the memory, and as many inodes as half of it has pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `size=`, `nr_blocks=`; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// `nr_inodes=`; `None` for no limit.
    pub max_inodes: Option<u64>,
    /// `mode=` of the root directory.
    pub mode: u32,
    /// `uid=` of the root directory.
    pub uid: u32,
    /// `gid=` of the root directory.
    pub gid: u32,
    /// The kind of file system that it passes for.
    pub kind: &'static str,
    /// Which of `size` and `nr_inodes` were given: only those are shown.
    pub shown: (bool, bool),
}

impl Default for Options {
    fn default() -> Self {
        let half = total_memory() / 2;
        let max_inodes = Some(half / PAGE_SIZE);
        Options {
            max_bytes: Some(half),
            max_inodes,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            kind: "tmpfs",
            shown: (false, false),
        }
    }
}

impl Options {
    /// Takes over what `text` (comma-separated) says; EINVAL for what tmpfs does not know.
    pub fn parse(&mut self, text: &[u8]) -> Result<()> {
        for option in text.split(|b| *b == b',').filter(|option| !option.is_empty()) {
            let option = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => {
                    self.max_bytes = match value.strip_suffix('%') {
                        Some(percent) => {
                            let percent: u64 = percent.parse().map_err(|_| Errno::EINVAL)?;
                            Some((total_memory() / 100).saturating_mul(percent))
                        }
                        None => limit(number(value)?),
                    };
                    self.shown.0 = true;
                }
                "nr_blocks" => {
                    self.max_bytes = limit(number(value)?.saturating_mul(PAGE_SIZE));
                    self.shown.0 = true;
                }
                "nr_inodes" => {
                    self.max_inodes = limit(number(value)?);
                    self.shown.1 = true;
                }
                "mode" => self.mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
                "uid" => self.uid = value.parse().map_err(|_| Errno::EINVAL)?,
                "gid" => self.gid = value.parse().map_err(|_| Errno::EINVAL)?,
                // Hints about huge pages, memory policy and inode numbers: the host decides.
                "huge" if matches!(value, "never" | "always" | "within_size" | "advise") => {}
                "mpol" if is_memory_policy(value) => {}
                "inode32" | "inode64" | "noswap" if value.is_empty() => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(())
    }
}

/// Whether it is the name of a memory policy, with flags and nodes behind it.
fn is_memory_policy(text: &str) -> bool {
    let name = text.split([':', '=']).next().unwrap_or_default();
    matches!(name, "default" | "prefer" | "bind" | "interleave" | "local")
}

/// Zero means no limit.
fn limit(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// A number with an optional `k`, `m`, `g` (memparse of Linux).
fn number(text: &str) -> Result<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        Some(b't' | b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    }
    .map_err(|_| Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.shown.0 {
            parts.push(format!("size={}k", self.max_bytes.unwrap_or(0) / 1024));
        }
        if self.shown.1 {
            parts.push(format!("nr_inodes={}", self.max_inodes.unwrap_or(0)));
        }
        if self.mode != 0o1777 {
            parts.push(format!("mode={:o}", self.mode));
        }
        if self.uid != 0 {
            parts.push(format!("uid={}", self.uid));
        }
        if self.gid != 0 {
            parts.push(format!("gid={}", self.gid));
        }
        f.write_str(&parts.join(","))
    }
}

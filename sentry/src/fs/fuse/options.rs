//! Mount options.

use abi::Errno;
use abi::stat::{S_IFDIR, S_IFMT};

use super::terms::MAX_READ;
use crate::Result;
use crate::task::UserNamespace;

/// Options, of which the first four must be given.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub fd: i32,
    pub root_mode: u32,
    pub user: u32,
    pub group: u32,
    pub default_permissions: bool,
    pub allow_other: bool,
    /// Bytes of one READ at most.
    pub max_read: u32,
    /// As given, to be shown.
    max_read_given: Option<u32>,
    pub subtype: Option<String>,
}

/// The value of one option.
fn decimal(value: &str) -> Result<u32> {
    value.parse().map_err(|_| Errno::EINVAL)
}

impl Options {
    /// From the text of mount(2): EINVAL for what is unknown, malformed or missing. `ns` is the mounter's.
    pub fn parse(text: &[u8], ns: &UserNamespace) -> Result<Options> {
        let mut options = Options { max_read: MAX_READ, ..Options::default() };
        let mut given = [false; 4];
        for option in text.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
            let option = std::str::from_utf8(option).map_err(|_| Errno::EINVAL)?;
            let which = options.set(option, ns)?;
            if let Some(which) = which {
                given[which] = true;
            }
        }
        if given != [true; 4] || options.root_mode & S_IFMT != S_IFDIR {
            return Err(Errno::EINVAL);
        }
        Ok(options)
    }

    /// One option; answers which of those that must be given it is.
    pub fn set(&mut self, option: &str, ns: &UserNamespace) -> Result<Option<usize>> {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "fd" => self.fd = decimal(value)? as i32,
            "rootmode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)?;
                abi::stat::FileType::from_mode(mode).ok_or(Errno::EINVAL)?;
                self.root_mode = mode;
            }
            "user_id" => self.user = ns.uid_kernel(decimal(value)?).ok_or(Errno::EINVAL)?,
            "group_id" => self.group = ns.gid_kernel(decimal(value)?).ok_or(Errno::EINVAL)?,
            "default_permissions" if value.is_empty() => self.default_permissions = true,
            "allow_other" if value.is_empty() => self.allow_other = true,
            "max_read" => {
                let given = decimal(value)?;
                self.max_read = given.clamp(4096, MAX_READ);
                self.max_read_given = Some(given);
            }
            "subtype" if self.subtype.is_none() && !value.is_empty() => self.subtype = Some(value.to_owned()),
            _ => return Err(Errno::EINVAL),
        }
        Ok(["fd", "rootmode", "user_id", "group_id"].iter().position(|name| *name == key))
    }

    /// As mountinfo shows them.
    pub fn shown(&self) -> String {
        let mut text = format!("user_id={},group_id={}", self.user, self.group);
        if self.default_permissions {
            text.push_str(",default_permissions");
        }
        if self.allow_other {
            text.push_str(",allow_other");
        }
        if let Some(max_read) = self.max_read_given {
            text.push_str(&format!(",max_read={max_read}"));
        }
        text
    }
}

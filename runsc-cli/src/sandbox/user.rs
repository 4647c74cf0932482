//! Who the program runs as in the sandbox: the caller, numbers, or a name that is looked up in the sandbox's own
//! /etc/passwd and /etc/group.
//!
//! The lookup is done by the command line, which is not confined: the files are opened beneath the root with no
//! way out of it, and only a bounded part of them is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::config::User;

/// Bytes of /etc/passwd and /etc/group that are looked at.
const LONGEST: u64 = 16 << 20;

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Not of the form that is understood.
    #[error("--user {0}: neither UID[:GID] nor a name; give one of them")]
    Form(String),
    /// The name is not listed.
    #[error("--user {name}: not in {file} of the sandbox's root; give a number")]
    Unknown {
        /// The name.
        name: String,
        /// The file that was searched.
        file: &'static str,
    },
    /// A file could not be read.
    #[error("--user {name}: {file} of the sandbox's root: {error}; give numbers")]
    Read {
        /// The name.
        name: String,
        /// The file.
        file: &'static str,
        /// The host's error.
        error: io::Error,
    },
}

/// The ids for `wanted` in the tree at `root`; the caller's where nothing is wanted.
pub fn find(wanted: Option<&str>, root: &Path) -> Result<User, UserError> {
    let Some(wanted) = wanted else {
        let groups = rustix::process::getgroups().unwrap_or_default();
        return Ok(User {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
        });
    };
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    if user.is_empty() || group == Some("") {
        return Err(UserError::Form(wanted.to_owned()));
    }
    let read = |file: &'static str| {
        read_beneath(root, file).map_err(|error| UserError::Read { name: wanted.to_owned(), file, error })
    };
    let number = user.parse::<u32>().ok();
    // A number with a group needs no file, and a number without one does with group 0 where there is no file.
    let passwd = match (number, group) {
        (Some(_), Some(_)) => String::new(),
        (Some(_), None) => read("etc/passwd").unwrap_or_default(),
        (None, _) => read("etc/passwd")?,
    };
    let account = account(&passwd, user, number);
    let (name, uid, own_gid) = match (account, number) {
        (Some(account), _) => account,
        (None, Some(uid)) => (String::new(), uid, 0),
        (None, None) => return Err(UserError::Unknown { name: user.to_owned(), file: "/etc/passwd" }),
    };
    let Some(group) = group else {
        let groups = read("etc/group").map(|text| memberships(&text, &name)).unwrap_or_default();
        return Ok(User { uid, gid: own_gid, groups });
    };
    let gid = match group.parse() {
        Ok(gid) => gid,
        Err(_) => group_id(&read("etc/group")?, group)
            .ok_or(UserError::Unknown { name: group.to_owned(), file: "/etc/group" })?,
    };
    Ok(User { uid, gid, groups: Vec::new() })
}

/// The home directory of a user, as /etc/passwd of the tree at `root` has it.
pub fn home(uid: u32, root: &Path) -> Option<String> {
    let passwd = read_beneath(root, "etc/passwd").ok()?;
    let line =
        passwd.lines().find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid))?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(str::to_owned)
}

/// The text of a file below `root`, where no link leads out of it.
fn read_beneath(root: &Path, file: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, root, flags | OFlags::DIRECTORY, Mode::empty())?;
    // Not blocking: it might be a FIFO.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = rustix::fs::openat2(&dir, file, flags | OFlags::NONBLOCK, Mode::empty(), resolve)?;
    let mut bytes = Vec::new();
    File::from(fd).take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Name, uid and gid of the passwd(5) line with this name or, failing that, number.
fn account(passwd: &str, name: &str, number: Option<u32>) -> Option<(String, u32, u32)> {
    let lines = || {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let _password = fields.next()?;
            Some((name.to_owned(), fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
    };
    lines().find(|(n, ..)| n == name).or_else(|| lines().find(|(_, uid, _)| Some(*uid) == number))
}

/// Name, gid and members of each group(5) line.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        Some((name, fields.next()?.parse().ok()?, fields.next().unwrap_or("")))
    })
}

fn group_id(text: &str, name: &str) -> Option<u32> {
    groups(text).find(|(n, ..)| *n == name).map(|(_, gid, _)| gid)
}

/// Groups that list `user` as a member.
fn memberships(text: &str, user: &str) -> Vec<u32> {
    let member = |members: &str| !user.is_empty() && members.split(',').any(|m| m.trim() == user);
    groups(text).filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nalice:x:1000:100::/:/bin/sh\n7:x:8:9::/:/bin/sh\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "users:x:100:\nwheel:x:10:root,alice\nalice:x:1:\n")
            .unwrap();
        dir
    }

    #[test]
    fn names_and_numbers() {
        let tree = tree();
        let find = |text| find(Some(text), tree.path()).map(|u| (u.uid, u.gid, u.groups));
        assert_eq!(find("alice").unwrap(), (1000, 100, vec![10]));
        assert_eq!(find("alice:wheel").unwrap(), (1000, 10, vec![]));
        assert_eq!(find("1000").unwrap(), (1000, 100, vec![10]));
        assert_eq!(find("4711").unwrap(), (4711, 0, vec![]));
        assert_eq!(find("4711:12").unwrap(), (4711, 12, vec![]));
        // A name of digits goes before a number.
        assert_eq!(find("7").unwrap(), (8, 9, vec![]));
        assert!(matches!(find("bob"), Err(UserError::Unknown { .. })));
        assert!(matches!(find("alice:nobody"), Err(UserError::Unknown { .. })));
        assert!(matches!(find(""), Err(UserError::Form(_))));
        assert!(matches!(find("1:"), Err(UserError::Form(_))));
    }

    #[test]
    fn links_stay_in_the_tree() {
        let tree = tree();
        std::fs::remove_file(tree.path().join("etc/passwd")).unwrap();
        std::fs::write(tree.path().join("users"), "eve:x:6:6::/:/bin/sh\n").unwrap();
        std::os::unix::fs::symlink("/../../users", tree.path().join("etc/passwd")).unwrap();
        assert_eq!(find(Some("eve"), tree.path()).unwrap().uid, 6);
    }

    #[test]
    fn no_files_at_all() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(Some("5"), dir.path()).unwrap(), User { uid: 5, gid: 0, groups: vec![] });
        assert!(matches!(find(Some("alice"), dir.path()), Err(UserError::Read { .. })));
    }
}

//! POSIX access control lists: their attributes, what they allow, what new files inherit.

use std::ffi::CStr;

use crate::kit::prelude::*;

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// In place of an id.
const NONE: u32 = u32::MAX;

type Entry = (u16, u16, u32);

fn value(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&perm.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn set(path: &CStr, kind: &CStr, entries: &[Entry]) -> Answer {
    let value = value(entries);
    sys!(setxattr, path, kind, value.as_slice(), value.len(), 0)
}

fn get(path: &CStr, kind: &CStr) -> Result<Vec<Entry>, Errno> {
    let mut buf = [0u8; 1024];
    let n = sys!(getxattr, path, kind, &mut buf, 1024)? as usize;
    eq(&buf[..4], 2u32.to_le_bytes());
    let one = |entry: &[u8]| {
        let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
        (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]), id)
    };
    Ok(buf[4..n].chunks(8).map(one).collect())
}

fn none(path: &CStr, kind: &CStr) {
    eq(get(path, kind), Err(Errno(ENODATA)));
}

fn mode(path: &CStr) -> u32 {
    lstat(path).st_mode & 0o7777
}

/// The permissions of owner, a user, the group, the mask and the others.
fn with_user(bits: [u16; 5], user: u32) -> Vec<Entry> {
    let [own, named, group, mask, other] = bits;
    vec![
        (USER_OBJ, own, NONE),
        (USER, named, user),
        (GROUP_OBJ, group, NONE),
        (MASK, mask, NONE),
        (OTHER, other, NONE),
    ]
}

fn plain(own: u16, group: u16, other: u16) -> Vec<Entry> {
    vec![(USER_OBJ, own, NONE), (GROUP_OBJ, group, NONE), (OTHER, other, NONE)]
}

/// An empty file of mode 0644 and an empty directory of mode 0755; or a skipped case, where there are no lists.
fn file_and_dir() {
    ok(sys!(umask, 0o022));
    put(c"f", b"");
    mkdir(c"d");
    if set(c"f", ACCESS, &plain(6, 4, 4)) == Err(Errno(EOPNOTSUPP)) {
        skip("the file system has no access control lists");
    }
}

case!(lists_are_kept: setxattr, getxattr, removexattr; root; disk);
fn lists_are_kept() {
    file_and_dir();
    none(c"f", ACCESS);
    let list = with_user([7, 6, 4, 6, 0], 1000);
    ok(set(c"f", ACCESS, &list));
    eq(get(c"f", ACCESS), Ok(list.clone()));
    eq(mode(c"f"), 0o760);
    // What stands in place of an id does not matter, and comes back as none.
    let odd: Vec<Entry> = list.iter().map(|e| if e.0 == USER { *e } else { (e.0, e.1, 77) }).collect();
    ok(set(c"f", ACCESS, &odd));
    eq(get(c"f", ACCESS), Ok(list));
    ok(sys!(removexattr, c"f", ACCESS));
    none(c"f", ACCESS);
    // The mode stays as the list has made it.
    eq(mode(c"f"), 0o760);
    ok(sys!(removexattr, c"f", ACCESS));
}

case!(lists_that_say_no_more_than_the_mode_are_it: setxattr, getxattr; disk);
fn lists_that_say_no_more_than_the_mode_are_it() {
    file_and_dir();
    ok(set(c"f", ACCESS, &plain(7, 5, 1)));
    none(c"f", ACCESS);
    eq(mode(c"f"), 0o751);
    // With a mask there is more to say.
    let masked = [(USER_OBJ, 6, NONE), (GROUP_OBJ, 6, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)];
    ok(set(c"f", ACCESS, &masked));
    eq(get(c"f", ACCESS), Ok(masked.to_vec()));
    eq(mode(c"f"), 0o640);
    ok(set(c"f", ACCESS, &plain(6, 0, 0)));
    none(c"f", ACCESS);
    eq(mode(c"f"), 0o600);
    ok(set(c"d", DEFAULT, &plain(7, 5, 1)));
    eq(get(c"d", DEFAULT), Ok(plain(7, 5, 1)));
    eq(mode(c"d"), 0o755);
}

case!(an_empty_list_takes_it_away: setxattr, getxattr; root; disk);
fn an_empty_list_takes_it_away() {
    file_and_dir();
    let list = with_user([7, 6, 4, 6, 0], 1000);
    for empty in [&value(&[])[..], b""] {
        ok(set(c"d", ACCESS, &list));
        ok(sys!(setxattr, c"d", ACCESS, empty, empty.len(), 0));
        none(c"d", ACCESS);
        ok(set(c"d", DEFAULT, &list));
        ok(sys!(setxattr, c"d", DEFAULT, empty, empty.len(), 0));
        none(c"d", DEFAULT);
    }
}

case!(what_is_no_list_is_refused: setxattr; disk);
fn what_is_no_list_is_refused() {
    file_and_dir();
    let bytes = |value: &[u8]| sys!(setxattr, c"f", ACCESS, value, value.len(), 0);
    fails(bytes(&[2, 0, 0]), EINVAL);
    fails(bytes(&[1, 0, 0, 0]), EOPNOTSUPP);
    fails(bytes(&[2, 0, 0, 0, 1]), EINVAL);
    let good = plain(6, 4, 4);
    for missing in 0..good.len() {
        let mut list = good.clone();
        list.remove(missing);
        fails(set(c"f", ACCESS, &list), EINVAL);
    }
    let mut twice = good.clone();
    twice.push((OTHER, 4, NONE));
    fails(set(c"f", ACCESS, &twice), EINVAL);
    fails(
        set(c"f", ACCESS, &[(USER_OBJ, 6, NONE), (USER, 6, 5), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE)]),
        EINVAL,
    );
    fails(set(c"f", ACCESS, &[(GROUP_OBJ, 6, NONE), (USER_OBJ, 4, NONE), (OTHER, 4, NONE)]), EINVAL);
    fails(set(c"f", ACCESS, &[(USER_OBJ, 8, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE)]), EINVAL);
    fails(
        set(c"f", ACCESS, &[(USER_OBJ, 6, NONE), (GROUP_OBJ, 4, NONE), (OTHER, 4, NONE), (64, 0, NONE)]),
        EINVAL,
    );
    eq(mode(c"f"), 0o644);
}

case!(which_error_wins: setxattr, getxattr, lsetxattr, lgetxattr; disk);
fn which_error_wins() {
    file_and_dir();
    // Only directories have a default list.
    fails(set(c"f", DEFAULT, &plain(6, 4, 4)), EACCES);
    fails(set(c"f", DEFAULT, &plain(6, 4, 8)), EACCES);
    ok(set(c"f", DEFAULT, &[]));
    ok(sys!(removexattr, c"f", DEFAULT));
    none(c"f", DEFAULT);
    fails(set(c"f", c"system.posix_acl_", &plain(6, 4, 4)), EOPNOTSUPP);
    fails(set(c"missing", ACCESS, &[]), ENOENT);
    // Links have none.
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    let list = value(&plain(6, 4, 4));
    fails(sys!(lsetxattr, c"l", ACCESS, list.as_slice(), list.len(), 0), EOPNOTSUPP);
    fails(sys!(lgetxattr, c"l", ACCESS, 0, 0), EOPNOTSUPP);
    // It need not be there for REPLACE, nor be missing for CREATE.
    ok(sys!(setxattr, c"f", ACCESS, list.as_slice(), list.len(), XATTR_REPLACE));
    ok(sys!(setxattr, c"f", ACCESS, list.as_slice(), list.len(), XATTR_CREATE));
    ok(sys!(setxattr, c"d", DEFAULT, list.as_slice(), list.len(), XATTR_REPLACE));
    ok(sys!(setxattr, c"d", DEFAULT, list.as_slice(), list.len(), XATTR_CREATE));
}

case!(values_have_a_size: getxattr; disk);
fn values_have_a_size() {
    file_and_dir();
    let list = plain(7, 7, 7);
    ok(set(c"d", DEFAULT, &list));
    let size = value(&list).len();
    eq(ok(sys!(getxattr, c"d", DEFAULT, 0, 0)), size as i64);
    fails(sys!(getxattr, c"d", DEFAULT, &mut [0u8; 64], size - 1), ERANGE);
    eq(ok(sys!(getxattr, c"d", DEFAULT, &mut [0u8; 64], size)), size as i64);
}

case!(lists_are_listed: listxattr; root; disk);
fn lists_are_listed() {
    file_and_dir();
    let names = |path: &CStr| {
        let mut buf = [0u8; 512];
        let n = ok(sys!(listxattr, path, &mut buf, 512)) as usize;
        let mut names: Vec<String> = buf[..n]
            .split(|byte| *byte == 0)
            .filter(|name| name.starts_with(b"system."))
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        names.sort();
        names
    };
    eq(names(c"d"), Vec::<String>::new());
    ok(set(c"d", ACCESS, &with_user([7, 6, 4, 6, 0], 1000)));
    eq(names(c"d"), vec!["system.posix_acl_access"]);
    ok(set(c"d", DEFAULT, &plain(7, 7, 7)));
    eq(names(c"d"), vec!["system.posix_acl_access", "system.posix_acl_default"]);
    ok(set(c"d", ACCESS, &plain(7, 7, 7)));
    eq(names(c"d"), vec!["system.posix_acl_default"]);
}

case!(chmod_changes_the_mask: chmod, fchmod; root; disk);
fn chmod_changes_the_mask() {
    file_and_dir();
    ok(set(c"f", ACCESS, &with_user([6, 6, 4, 6, 0], 1000)));
    ok(sys!(chmod, c"f", 0o4715));
    eq(get(c"f", ACCESS), Ok(with_user([7, 6, 4, 1, 5], 1000)));
    eq(mode(c"f"), 0o4715);
    // Without a mask it is the group's entry, in a default list nothing.
    ok(set(c"d", DEFAULT, &plain(7, 5, 5)));
    ok(sys!(chmod, c"d", 0o700));
    eq(get(c"d", DEFAULT), Ok(plain(7, 5, 5)));
}

case!(chown_and_writes_leave_the_list: chown, write; root; disk);
fn chown_and_writes_leave_the_list() {
    file_and_dir();
    let list = with_user([7, 7, 4, 7, 1], 1000);
    ok(set(c"f", ACCESS, &list));
    ok(sys!(chmod, c"f", 0o6771));
    ok(sys!(chown, c"f", 5, 6));
    eq(mode(c"f"), 0o771);
    let fd = open(c"f", O_WRONLY);
    write_all(fd, b"x");
    eq(get(c"f", ACCESS), Ok(list));
}

case!(only_the_owner_sets_a_list: setxattr, removexattr; root; disk);
fn only_the_owner_sets_a_list() {
    file_and_dir();
    ok(sys!(chmod, c"f", 0o666));
    ok(set(c"d", DEFAULT, &plain(7, 7, 7)));
    unprivileged(|| {
        fails(set(c"f", ACCESS, &plain(7, 7, 7)), EPERM);
        fails(set(c"f", ACCESS, &plain(7, 7, 8)), EPERM);
        fails(sys!(removexattr, c"f", ACCESS), EPERM);
        fails(sys!(removexattr, c"d", DEFAULT), EPERM);
        // Reading takes no right to the file.
        eq(get(c"d", DEFAULT), Ok(plain(7, 7, 7)));
        put(c"mine", b"");
        ok(set(c"mine", ACCESS, &with_user([6, 6, 4, 6, 0], NOBODY)));
    });
    eq(get(c"mine", ACCESS), Ok(with_user([6, 6, 4, 6, 0], NOBODY)));
}

case!(the_set_group_bit_goes_with_a_foreign_group: setxattr; root; disk);
fn the_set_group_bit_goes_with_a_foreign_group() {
    file_and_dir();
    ok(sys!(chown, c"f", NOBODY, 5));
    ok(sys!(chmod, c"f", 0o2755));
    ok(set(c"f", ACCESS, &plain(7, 7, 5)));
    eq(mode(c"f"), 0o2775);
    unprivileged(|| {
        ok(set(c"f", ACCESS, &plain(7, 7, 1)));
        eq(mode(c"f"), 0o771);
    });
}

case!(a_named_user_is_allowed_what_the_mask_leaves: access, openat, setxattr; root; disk);
fn a_named_user_is_allowed_what_the_mask_leaves() {
    file_and_dir();
    ok(sys!(chmod, c"f", 0o600));
    let may = |want: c_int| {
        let answer = shared::<std::sync::atomic::AtomicU32>();
        unprivileged(|| {
            let got = sys!(faccessat2, AT_FDCWD, c"f", want, 0);
            let opened = match want {
                R_OK => Some(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0)),
                W_OK => Some(sys!(openat, AT_FDCWD, c"f", O_WRONLY, 0)),
                _ => None,
            };
            if let Some(opened) = opened {
                eq(opened.is_ok(), got.is_ok());
            }
            answer.store(u32::from(got.is_ok()), std::sync::atomic::Ordering::SeqCst);
        });
        answer.load(std::sync::atomic::Ordering::SeqCst) == 1
    };
    check(!may(R_OK), "nothing yet");
    ok(set(c"f", ACCESS, &with_user([6, 6, 0, 6, 0], NOBODY)));
    check(may(R_OK) && may(W_OK) && !may(X_OK), "what the entry says");
    ok(set(c"f", ACCESS, &with_user([6, 6, 0, 4, 0], NOBODY)));
    check(may(R_OK) && !may(W_OK), "what the mask leaves");
    // A user that is named is none of the others.
    ok(set(c"f", ACCESS, &with_user([6, 0, 0, 4, 7], NOBODY)));
    check(!may(R_OK) && !may(X_OK), "named, with nothing");
    // Where the group may do nothing, nobody looks at the list: that is as good as an empty mask.
    ok(set(c"f", ACCESS, &with_user([6, 6, 6, 0, 4], NOBODY)));
    check(may(R_OK), "as one of the others");
    ok(sys!(removexattr, c"f", ACCESS));
    ok(sys!(chmod, c"f", 0o600));
    check(!may(R_OK), "nothing any more");
}

case!(groups_are_looked_at_together: access, setxattr; root; disk);
fn groups_are_looked_at_together() {
    file_and_dir();
    ok(sys!(chown, c"f", 0, 5));
    let may = |groups: &[u32], want: c_int| {
        let answer = shared::<std::sync::atomic::AtomicU32>();
        in_child(|| {
            ok(sys!(setgroups, groups.len(), groups));
            ok(sys!(setresgid, 99, 99, 99));
            ok(sys!(setresuid, 99, 99, 99));
            let got = sys!(access, c"f", want);
            answer.store(u32::from(got.is_ok()), std::sync::atomic::Ordering::SeqCst);
        });
        answer.load(std::sync::atomic::Ordering::SeqCst) == 1
    };
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    let list = [
        (USER_OBJ, 7, NONE),
        (GROUP_OBJ, 4, NONE),
        (GROUP, 2, 6),
        (GROUP, 6, 7),
        (MASK, 6, NONE),
        (OTHER, 1, NONE),
    ];
    ok(set(c"f", ACCESS, &list));
    check(may(&[5], R_OK) && !may(&[5], W_OK), "the file's group");
    check(may(&[6], W_OK) && !may(&[6], R_OK), "a named group");
    // No single entry gives both.
    check(may(&[5, 6], R_OK) && may(&[5, 6], W_OK) && !may(&[5, 6], R_OK | W_OK), "two groups");
    check(may(&[5, 6, 7], R_OK | W_OK), "one that has both");
    check(!may(&[5], X_OK) && may(&[], X_OK), "members are none of the others");
}

case!(directories_are_searched_by_lists: openat, newfstatat, unlinkat; root; disk);
fn directories_are_searched_by_lists() {
    file_and_dir();
    put(c"d/x", b"");
    ok(sys!(chmod, c"d", 0o700));
    unprivileged(|| fails(sys!(access, c"d/x", F_OK), EACCES));
    ok(set(c"d", ACCESS, &with_user([7, 5, 0, 5, 0], NOBODY)));
    unprivileged(|| {
        ok(sys!(access, c"d/x", F_OK));
        close(open(c"d", O_RDONLY | O_DIRECTORY));
        fails(sys!(unlinkat, AT_FDCWD, c"d/x", 0), EACCES);
    });
    ok(set(c"d", ACCESS, &with_user([7, 7, 0, 7, 0], NOBODY)));
    unprivileged(|| done(sys!(unlinkat, AT_FDCWD, c"d/x", 0)));
    ok(set(c"d", ACCESS, &with_user([7, 4, 0, 7, 0], NOBODY)));
    unprivileged(|| {
        close(open(c"d", O_RDONLY | O_DIRECTORY));
        fails(sys!(access, c"d/y", F_OK), EACCES);
    });
}

case!(new_files_inherit: openat, mkdirat, mknodat, umask; root; disk);
fn new_files_inherit() {
    file_and_dir();
    let default = with_user([7, 6, 5, 7, 4], 1000);
    ok(set(c"d", DEFAULT, &default));
    // The umask counts for nothing.
    ok(sys!(umask, 0o077));
    close(ok_i32(sys!(openat, AT_FDCWD, c"d/file", O_CREAT | O_EXCL | O_WRONLY, 0o664)));
    eq(mode(c"d/file"), 0o664);
    eq(get(c"d/file", ACCESS), Ok(with_user([6, 6, 5, 6, 4], 1000)));
    none(c"d/file", DEFAULT);
    ok(sys!(mkdirat, AT_FDCWD, c"d/dir", 0o750));
    eq(mode(c"d/dir"), 0o750);
    eq(get(c"d/dir", ACCESS), Ok(with_user([7, 6, 5, 5, 0], 1000)));
    eq(get(c"d/dir", DEFAULT), Ok(default.clone()));
    ok(sys!(mknodat, AT_FDCWD, c"d/fifo", S_IFIFO | 0o606, 0));
    eq(mode(c"d/fifo"), 0o604);
    eq(get(c"d/fifo", ACCESS), Ok(with_user([6, 6, 5, 0, 4], 1000)));
    ok(sys!(symlinkat, c"file", AT_FDCWD, c"d/link"));
    fails(sys!(lgetxattr, c"d/link", ACCESS, 0, 0), EOPNOTSUPP);
    // A list that says no more than bits do makes the mode, and is only handed down.
    ok(set(c"d/dir", DEFAULT, &plain(7, 5, 1)));
    ok(sys!(mkdirat, AT_FDCWD, c"d/dir/below", 0o777));
    eq(mode(c"d/dir/below"), 0o751);
    none(c"d/dir/below", ACCESS);
    eq(get(c"d/dir/below", DEFAULT), Ok(plain(7, 5, 1)));
    // Without a default list it is the umask again, and for what is linked or moved there nothing changes.
    close(ok_i32(sys!(openat, AT_FDCWD, c"plain", O_CREAT | O_EXCL | O_WRONLY, 0o664)));
    eq(mode(c"plain"), 0o600);
    ok(sys!(linkat, AT_FDCWD, c"plain", AT_FDCWD, c"d/linked", 0));
    ok(sys!(renameat, AT_FDCWD, c"plain", AT_FDCWD, c"d/moved"));
    eq(mode(c"d/moved"), 0o600);
    none(c"d/moved", ACCESS);
}

case!(unnamed_files_inherit: openat, linkat; root; disk);
fn unnamed_files_inherit() {
    file_and_dir();
    ok(set(c"d", DEFAULT, &with_user([7, 6, 5, 7, 4], 1000)));
    let fd = match sys!(openat, AT_FDCWD, c"d", O_TMPFILE | O_RDWR, 0o640) {
        Err(Errno(EOPNOTSUPP | EISDIR)) => skip("no O_TMPFILE here"),
        fd => ok_i32(fd),
    };
    eq(fstat(fd).st_mode & 0o7777, 0o640);
    ok(sys!(linkat, fd, c"", AT_FDCWD, c"named", AT_EMPTY_PATH));
    eq(get(c"named", ACCESS), Ok(with_user([6, 6, 5, 4, 0], 1000)));
}

case!(set_group_directories_hand_both_down: mkdirat, openat; root; disk);
fn set_group_directories_hand_both_down() {
    file_and_dir();
    ok(sys!(chown, c"d", 0, 5));
    ok(sys!(chmod, c"d", 0o2775));
    ok(set(c"d", DEFAULT, &with_user([7, 7, 7, 7, 0], 1000)));
    eq(mode(c"d"), 0o2775);
    ok(sys!(mkdirat, AT_FDCWD, c"d/dir", 0o777));
    eq((mode(c"d/dir"), lstat(c"d/dir").st_gid), (0o2770, 5));
    eq(get(c"d/dir", ACCESS), Ok(with_user([7, 7, 7, 7, 0], 1000)));
    close(ok_i32(sys!(openat, AT_FDCWD, c"d/file", O_CREAT | O_EXCL | O_WRONLY, 0o4755)));
    eq((mode(c"d/file"), lstat(c"d/file").st_gid), (0o4750, 5));
}

case!(a_bound_socket_inherits: bind; root; disk);
fn a_bound_socket_inherits() {
    file_and_dir();
    ok(set(c"d", DEFAULT, &with_user([7, 6, 5, 6, 4], 1000)));
    let socket = ok_i32(sys!(socket, AF_UNIX, SOCK_STREAM, 0));
    let mut address = [0u8; 12];
    address[..2].copy_from_slice(&(AF_UNIX as u16).to_le_bytes());
    address[2..10].copy_from_slice(b"d/socket");
    ok(sys!(bind, socket, &address, 11));
    // Here the umask counts all the same.
    eq(mode(c"d/socket"), 0o744);
    eq(get(c"d/socket", ACCESS), Ok(with_user([7, 6, 5, 4, 4], 1000)));
}

case!(a_change_of_the_list_is_an_event: inotify_add_watch, setxattr; disk);
fn a_change_of_the_list_is_an_event() {
    file_and_dir();
    let fd = ok_i32(sys!(inotify_init1, IN_NONBLOCK));
    ok(sys!(inotify_add_watch, fd, c"d", IN_ATTRIB));
    ok(set(c"d", DEFAULT, &plain(7, 7, 7)));
    ok(sys!(removexattr, c"d", DEFAULT));
    // The second is the same as the first, and so one with it.
    let events = read(fd, 256);
    eq(events.len(), 16);
    eq(u32::from_le_bytes([events[4], events[5], events[6], events[7]]) & !IN_ISDIR, IN_ATTRIB);
}

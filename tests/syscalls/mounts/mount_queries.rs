//! statmount, listmount, and the mount ids of statx.

use super::{bind, own_mounts, spread, the_info, tmpfs};
use crate::kit::prelude::*;

const STATX_MNT_ID: u32 = 0x1000;
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

fn statx_of(name: &std::ffi::CStr, mask: u32) -> [u64; 32] {
    let mut buf = [0u64; 32];
    ok(sys!(statx, AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, mask, &mut buf));
    buf
}

fn mount_id(name: &std::ffi::CStr) -> u64 {
    statx_of(name, STATX_MNT_ID)[18]
}

fn unique_id(name: &std::ffi::CStr) -> u64 {
    let st = statx_of(name, STATX_MNT_ID_UNIQUE);
    if st[0] as u32 & STATX_MNT_ID_UNIQUE == 0 {
        skip("no unique mount ids in this kernel");
    }
    st[18]
}

case!(ids_of_mounts: statx; root; disk);
fn ids_of_mounts() {
    own_mounts();
    tmpfs(c"m");
    put(c"m/f", b"");
    bind(c"m", c"n");
    eq(mount_id(c"m/f"), the_info("m").id);
    eq(mount_id(c"n/f"), the_info("n").id);
    let (m, n) = (unique_id(c"m"), unique_id(c"n"));
    check(m != n && m > 1 << 31, "above those of mountinfo");
    ok(sys!(umount2, c"n", 0));
    ok(sys!(mount, c"m", c"n", 0, MS_BIND, 0));
    check(unique_id(c"n") != n, "never used again");
    // Attributes tell where a mount begins.
    let root = statx_of(c"m", STATX_MNT_ID);
    check(root[1] & 0x2000 != 0, "a mount's root");
    check(statx_of(c"m/f", STATX_MNT_ID)[1] & 0x2000 == 0, "no root");
}

#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    id: u64,
    param: u64,
    namespace: u64,
}

fn request(id: u64, param: u64) -> Request {
    Request { size: 24, spare: 0, id, param, namespace: 0 }
}

fn need_statmount() {
    if let Err(Errno(ENOSYS)) = sys!(statmount, 0, 0, 0, 0) {
        skip("no statmount in this kernel");
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_ne_bytes)
}

fn string_at(bytes: &[u8], slot: usize) -> String {
    let start = 512 + u32_at(bytes, slot) as usize;
    let end = bytes[start..].iter().position(|b| *b == 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[start..start + end]).into_owned()
}

case!(statmount_tells: statmount; root; disk);
fn statmount_tells() {
    own_mounts();
    need_statmount();
    mkdir(c"m");
    ok(sys!(mount, c"here", c"m", c"tmpfs", MS_NOSUID | MS_NOEXEC, c"size=64k"));
    mkdir(c"m/d");
    bind(c"m/d", c"n");
    spread(c"n", MS_SHARED);
    let id = unique_id(c"n");
    let mut buf = vec![0u8; 4096];
    ok(sys!(statmount, &request(id, 0x23b), buf.as_mut_ptr(), buf.len(), 0));
    eq(u64_at(&buf, 8), 0x23b);
    let line = the_info("n");
    eq((u64_at(&buf, 40), u64::from(u32_at(&buf, 56))), (id, line.id));
    eq(u64::from(u32_at(&buf, 60)), line.parent);
    eq(u64_at(&buf, 24), TMPFS_MAGIC as u64);
    eq(u64_at(&buf, 64), 2 | 8);
    eq(u64_at(&buf, 72), MS_SHARED);
    eq(line.fields, [format!("shared:{}", u64_at(&buf, 80))]);
    eq(string_at(&buf, 36), "tmpfs");
    eq(string_at(&buf, 104), "/d");
    eq(string_at(&buf, 108), absolute("n").to_string_lossy());
    eq(string_at(&buf, 124), "here");
}

case!(statmount_arguments: statmount; root; disk);
fn statmount_arguments() {
    own_mounts();
    need_statmount();
    tmpfs(c"m");
    let id = unique_id(c"m");
    let mut buf = vec![0u8; 4096];
    let p = buf.as_mut_ptr();
    fails(sys!(statmount, &request(id, 3), p, 4096, 1), EINVAL);
    fails(sys!(statmount, 8, p, 4096, 0), EFAULT);
    fails(sys!(statmount, &Request { size: 16, ..request(id, 3) }, p, 4096, 0), EINVAL);
    fails(sys!(statmount, &Request { size: 8192, ..request(id, 3) }, p, 4096, 0), E2BIG);
    fails(sys!(statmount, &request(5, 3), p, 4096, 0), EINVAL);
    fails(sys!(statmount, &request(id + 1_000_000, 3), p, 4096, 0), ENOENT);
    fails(sys!(statmount, &request(id, 3), 8, 4096, 0), EFAULT);
    // A string that does not fit.
    fails(sys!(statmount, &request(id, 0x20), p, 514, 0), EOVERFLOW);
    // The structure alone may be cut.
    ok(sys!(statmount, &request(id, 3), p, 64, 0));
    eq(u32_at(&buf, 0), 64);
}

case!(listmount_lists: listmount; root; disk);
fn listmount_lists() {
    own_mounts();
    need_statmount();
    tmpfs(c"m");
    tmpfs(c"m/a");
    tmpfs(c"m/b");
    tmpfs(c"m/a/deep");
    let ids = [unique_id(c"m/a"), unique_id(c"m/b"), unique_id(c"m/a/deep")];
    let mut list = [0u64; 64];
    let m = unique_id(c"m");
    eq(ok(sys!(listmount, &request(m, 0), &mut list, 64, 0)), 3);
    eq(&list[..3], ids);
    // In pieces, and backwards.
    eq(ok(sys!(listmount, &request(m, 0), &mut list, 2, 0)), 2);
    eq(ok(sys!(listmount, &request(m, list[1]), &mut list, 64, 0)), 1);
    eq(list[0], ids[2]);
    eq(ok(sys!(listmount, &request(m, 0), &mut list, 64, 1)), 3);
    eq(&list[..3], [ids[2], ids[1], ids[0]]);
    eq(ok(sys!(listmount, &request(ids[2], 0), &mut list, 64, 0)), 0);
    let all = ok(sys!(listmount, &request(u64::MAX, 0), &mut list, 64, 0)) as usize;
    check(all > 4 && list[..all].contains(&m), "the root lists all");
}

case!(listmount_arguments: listmount; root; disk);
fn listmount_arguments() {
    own_mounts();
    need_statmount();
    let mut list = [0u64; 4];
    fails(sys!(listmount, &request(u64::MAX, 0), &mut list, 4, 2), EINVAL);
    fails(sys!(listmount, &request(5, 0), &mut list, 4, 0), EINVAL);
    fails(sys!(listmount, &request((1 << 33) + 7, 0), &mut list, 4, 0), ENOENT);
    fails(sys!(listmount, 8, &mut list, 4, 0), EFAULT);
    fails(sys!(listmount, &request(u64::MAX, 0), &mut list, 2_000_000, 0), EOVERFLOW);
    fails(sys!(listmount, &request(u64::MAX, 3), &mut list, 4, 0), EINVAL);
}

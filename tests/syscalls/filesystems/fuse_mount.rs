//! Mounting: options, who may, what is shown.

use std::ffi::{CStr, CString};
use std::sync::atomic::Ordering::SeqCst;

use super::fuse_server::{
    ACCESS, GETATTR, GETXATTR, INIT, answer, device, header, init_out, next, options, serve,
};
use crate::filesystems::{mountinfo, own_mounts};
use crate::kit::prelude::*;

case!(mounts_need_their_options: mount; root);
fn mounts_need_their_options() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    let mount = |options: String| {
        let options = CString::new(options).unwrap_or_default();
        sys!(mount, c"none", c"m", c"fuse", 0, options.as_c_str())
    };
    for missing in [
        "rootmode=40000,user_id=0,group_id=0".to_owned(),
        format!("fd={fd},user_id=0,group_id=0"),
        format!("fd={fd},rootmode=40000,group_id=0"),
        format!("fd={fd},rootmode=40000,user_id=0"),
        format!("fd={fd},rootmode=40000,user_id=0,group_id=0,what"),
        format!("fd={fd},rootmode=40000,user_id=x,group_id=0"),
        format!("fd={fd},rootmode=8,user_id=0,group_id=0"),
        format!("fd={fd},rootmode=0,user_id=0,group_id=0"),
    ] {
        eq_of(missing.clone(), mount(missing).map_err(|e| e.0), Err(EINVAL));
    }
    fails(mount("fd=999,rootmode=40000,user_id=0,group_id=0".to_owned()), EINVAL);
    let other = open(c"/dev/null", O_RDWR);
    fails(mount(format!("fd={other},rootmode=40000,user_id=0,group_id=0")), EINVAL);
    // None of these has used the device up.
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    ok(sys!(umount2, c"m", 0));
    // What was served once is not served again.
    let again = sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str());
    fails_any(again, &[EINVAL, ENOTCONN]);
}

case!(mounts_are_shown: mount; root);
fn mounts_are_shown() {
    own_mounts();
    mkdir(c"m");
    let more = ",default_permissions,allow_other,max_read=8192";
    for (kind, extra, shown) in [
        (c"fuse", "", "rw,user_id=0,group_id=0"),
        (c"fuse.case", more, "rw,user_id=0,group_id=0,default_permissions,allow_other,max_read=8192"),
    ] {
        let fd = device();
        ok(sys!(mount, c"src", c"m", kind, 0, options(fd, extra).as_c_str()));
        let (_, its_kind, source, super_options) = mountinfo("m");
        eq((its_kind.as_str(), source.as_str()), (&*kind.to_string_lossy(), "src"));
        eq(super_options, shown);
        ok(sys!(umount2, c"m", 0));
        close(fd);
    }
    check(text(c"/proc/filesystems").contains("nodev\tfuse\n"), "it is a kind of file system");
}

case!(subtype_can_be_an_option: mount; root);
fn subtype_can_be_an_option() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    ok(sys!(mount, c"src", c"m", c"fuse", 0, options(fd, ",subtype=case").as_c_str()));
    eq(mountinfo("m").1, "fuse.case");
    ok(sys!(umount2, c"m", 0));
}

case!(mounts_by_steps: fsopen, fsconfig, fsmount, move_mount; root);
fn mounts_by_steps() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    let context = ok_i32(sys!(fsopen, c"fuse", 0));
    let set = |key: &CStr, value: &CStr| sys!(fsconfig, context, 1, key, value, 0);
    let number = CString::new(fd.to_string()).unwrap_or_default();
    ok(set(c"fd", &number));
    ok(set(c"rootmode", c"40000"));
    ok(set(c"user_id", c"0"));
    fails(sys!(fsconfig, context, 6, 0, 0, 0), EINVAL);
    close(context);
    let context = ok_i32(sys!(fsopen, c"fuse", 0));
    let set = |key: &CStr, value: &CStr| sys!(fsconfig, context, 1, key, value, 0);
    ok(set(c"fd", &number));
    for (key, value) in [(c"rootmode", c"40000"), (c"user_id", c"0"), (c"group_id", c"0")] {
        ok(set(key, value));
    }
    fails(set(c"nonsense", c"0"), EINVAL);
    ok(sys!(fsconfig, context, 6, 0, 0, 0));
    let mount = ok_i32(sys!(fsmount, context, 0, 0));
    ok(sys!(move_mount, mount, c"", AT_FDCWD, c"m", 4));
    eq(mountinfo("m").1, "fuse");
    close(mount);
    close(context);
    ok(sys!(umount2, c"m", 0));
}

case!(devices_without_a_mount: read, write, poll; root);
fn devices_without_a_mount() {
    let fd = device();
    let mut buf = [0u8; 65536];
    fails(sys!(read, fd, &mut buf, buf.len()), EPERM);
    fails(answer(fd, 2, 0, &[]), EPERM);
    let mut polled = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
    eq(ok(sys!(poll, &mut polled, 1, 0)), 1);
    eq(polled.revents, POLLERR);
    close(fd);
}

case!(the_first_request_is_init: read, write, poll, umount2; root);
fn the_first_request_is_init() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    let mut polled = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
    eq(ok(sys!(poll, &mut polled, 1, 0)), 1);
    eq(polled.revents, POLLIN | POLLOUT);
    // A buffer that would not do is refused before anything is lost.
    let mut small = [0u8; 1024];
    fails(sys!(read, fd, &mut small, small.len()), EINVAL);
    let Some(request) = next(fd) else { fail("no request") };
    let (opcode, unique, node) = header(&request);
    eq((opcode, node, request.len()), (INIT, 0, 104));
    eq(u32::from_ne_bytes([request[40], request[41], request[42], request[43]]), 7);
    // Answers to nothing, and answers that are none.
    fails(answer(fd, unique + 1000, 0, &[]), ENOENT);
    fails(answer(fd, unique, 5, &[]), EINVAL);
    fails(answer(fd, unique, -600, &[]), EINVAL);
    fails(sys!(write, fd, &small, 8), EINVAL);
    fails(sys!(write, fd, &small, 16), EINVAL);
    ok(answer(fd, unique, 0, &init_out(0)));
    fails(answer(fd, unique, 0, &init_out(0)), ENOENT);
    eq(ok(sys!(poll, &mut polled, 1, 0)), 1);
    eq(polled.revents, POLLOUT);
    ok(sys!(fcntl, fd, F_SETFL, O_NONBLOCK));
    let mut big = vec![0u8; 1 << 20];
    fails(sys!(read, fd, big.as_mut_ptr(), big.len()), EAGAIN);
    ok(sys!(umount2, c"m", 0));
    fails(sys!(read, fd, big.as_mut_ptr(), big.len()), ENODEV);
    eq(ok(sys!(poll, &mut polled, 1, 0)), 1);
    eq(polled.revents, POLLERR);
}

case!(servers_of_another_protocol_are_refused: mount, newfstatat; root);
fn servers_of_another_protocol_are_refused() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    let Some(request) = next(fd) else { fail("no request") };
    let mut reply = init_out(0);
    reply[0] = 6;
    ok(answer(fd, header(&request).1, 0, &reply));
    fails(sys!(openat, AT_FDCWD, c"m/x", O_RDONLY, 0), ECONNREFUSED);
    ok(sys!(umount2, c"m", 0));
}

case!(is_for_who_has_mounted_it: setresuid, openat, newfstatat, statfs; root);
fn is_for_who_has_mounted_it() {
    let fuse = serve("", |_, _| {});
    eq(content(c"m/f"), b"contents");
    let child = fork(|| {
        become_user(NOBODY);
        let mut st: stat = zeroed();
        fails(sys!(newfstatat, AT_FDCWD, c"m", &mut st, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"m/f", O_RDONLY, 0), EACCES);
        fails(sys!(openat, AT_FDCWD, c"m", O_RDONLY | O_DIRECTORY, 0), EACCES);
        let mut fs: statfs = zeroed();
        ok(sys!(statfs, c"m", &mut fs));
        eq((fs.f_type, fs.f_blocks), (0x6573_5546, 0));
    });
    child.succeeds();
    fuse.unmount();
}

case!(others_are_allowed: setresuid, openat, access, chdir; root);
fn others_are_allowed() {
    let fuse = serve(",allow_other", |_, tree| {
        for node in tree.nodes.values_mut() {
            node.mode &= !0o077;
        }
    });
    let control = fuse.control;
    let child = fork(move || {
        become_user(NOBODY);
        // Modes are the server's business.
        eq(content(c"m/f"), b"contents");
        eq(control.asker[0].load(SeqCst), NOBODY);
        eq(control.asker[2].load(SeqCst), ok(sys!(getpid)) as u32);
        eq(control.count(ACCESS), 0);
        ok(sys!(access, c"m/f", R_OK | W_OK));
        eq((control.count(ACCESS), control.access.load(SeqCst)), (1, 6));
        ok(sys!(chdir, c"m/d"));
        eq((control.count(ACCESS), control.access.load(SeqCst)), (2, 1));
    });
    child.succeeds();
    fuse.unmount();
}

case!(default_permissions_are_the_kernels: setresuid, openat, access, unlinkat; root);
fn default_permissions_are_the_kernels() {
    let fuse = serve(",allow_other,default_permissions", |_, tree| {
        if let Some(node) = tree.nodes.get_mut(&2) {
            node.mode = S_IFREG | 0o600;
        }
    });
    let control = fuse.control;
    let child = fork(move || {
        become_user(NOBODY);
        fails(sys!(openat, AT_FDCWD, c"m/f", O_RDONLY, 0), EACCES);
        fails(sys!(unlinkat, AT_FDCWD, c"m/d/a", 0), EACCES);
        eq(content(c"m/d/a"), b"a");
        fails(sys!(access, c"m/d/a", W_OK), EACCES);
        ok(sys!(access, c"m/d/a", R_OK));
        eq(control.count(ACCESS), 0);
    });
    child.succeeds();
    check(control.count(GETATTR) > 0, "attributes are asked for");
    fuse.unmount();
}

case!(devices_can_be_cloned: ioctl, read, write; root);
fn devices_can_be_cloned() {
    own_mounts();
    mkdir(c"m");
    let (fd, other) = (device(), device());
    // FUSE_DEV_IOC_CLONE
    fails_any(sys!(ioctl, other, 0x8004_e500u32, &fd), &[EINVAL, EPERM]);
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    ok(sys!(ioctl, other, 0x8004_e500u32, &fd));
    fails(sys!(ioctl, other, 0x8004_e500u32, &fd), EINVAL);
    let Some(request) = next(fd) else { fail("no request") };
    ok(answer(fd, header(&request).1, 0, &init_out(0)));
    let child = fork(|| {
        let mut st: stat = zeroed();
        fails(sys!(newfstatat, AT_FDCWD, c"m", &mut st, 0), EDOM);
    });
    let Some(request) = next(other) else { fail("no request") };
    ok(answer(other, header(&request).1, -EDOM, &[]));
    child.succeeds();
    ok(sys!(umount2, c"m", 0));
}

case!(one_device_mounts_one_file_system: mount, openat; root);
fn one_device_mounts_one_file_system() {
    own_mounts();
    mkdir(c"m");
    mkdir(c"m2");
    let fd = device();
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    ok(sys!(mount, c"none", c"m2", c"fuse", 0, options(fd, "").as_c_str()));
    ok(sys!(umount2, c"m", 0));
    let Some(request) = next(fd) else { fail("the other mount is there") };
    eq(header(&request).0, INIT);
    ok(sys!(umount2, c"m2", 0));
    let mut buf = [0u8; 65536];
    fails(sys!(read, fd, &mut buf, buf.len()), ENODEV);
}

case!(messages_are_spliced_whole: splice, read, write; root);
fn messages_are_spliced_whole() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    let [r, w] = pipe(0);
    ok(sys!(fcntl, w, F_SETPIPE_SZ, 1 << 20));
    // Not mounted yet; and then not for less than a request may need.
    fails(sys!(splice, fd, 0, w, 0, 1 << 18, 0), EPERM);
    ok(sys!(mount, c"none", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    fails(sys!(splice, fd, 0, w, 0, 4096, 0), EINVAL);
    let request = || {
        let n = ok(sys!(splice, fd, 0, w, 0, 1 << 18, 0)) as usize;
        let request = read(r, n);
        eq(request.len(), n);
        header(&request)
    };
    let reply = |unique: u64, body: &[u8]| {
        let mut message = (16 + body.len() as u32).to_le_bytes().to_vec();
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&unique.to_le_bytes());
        message.extend_from_slice(body);
        write_all(w, &message);
        eq(ok(sys!(splice, r, 0, fd, 0, message.len(), 0)) as usize, message.len());
    };
    let (opcode, unique, _) = request();
    eq(opcode, INIT);
    reply(unique, &init_out(0));
    let child = fork(|| {
        let mut value = vec![0u8; 65536];
        eq(ok(sys!(lgetxattr, c"m", c"user.x", value.as_mut_ptr(), value.len())), 65536);
        check(value.iter().all(|byte| *byte == 7), "all of it is there");
    });
    let (opcode, unique, _) = request();
    eq(opcode, GETXATTR);
    reply(unique, &vec![7; 65536]);
    child.succeeds();
    ok(sys!(umount2, c"m", 0));
}

//! Values and layouts against the C headers of this machine. Headers older than a constant do not have it: such names are
//! left out and listed (`--nocapture`).

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use abi::NamedFlags;

/// What is compared with one set of headers.
struct Group {
    headers: &'static [&'static str],
    /// C expressions and what they must be.
    expected: Vec<(String, i128)>,
}

fn group(headers: &'static [&'static str]) -> Group {
    Group { headers, expected: Vec::new() }
}

impl Group {
    fn table<T: Copy + TryInto<i128>>(mut self, table: &[(T, &str)]) -> Group {
        for (value, name) in table {
            let Ok(value) = (*value).try_into() else { panic!("{name} is no number") };
            self.expected.push((name.to_string(), value));
        }
        self
    }

    fn flags<F: NamedFlags>(self) -> Group
    where
        F::Bits: TryInto<i128> + Copy,
    {
        self.table(F::NAMES)
    }

    fn layout(mut self, c_type: &str, size: usize, fields: &[(&str, usize)]) -> Group {
        self.expected.push((format!("sizeof({c_type})"), size as i128));
        for (field, offset) in fields {
            self.expected.push((format!("__builtin_offsetof({c_type}, {field})"), *offset as i128));
        }
        self
    }

    /// Compares; returns how many values were, and the names that the headers lack.
    fn check(&self) -> (usize, BTreeSet<String>) {
        let mut unknown = BTreeSet::new();
        for _ in 0..4 {
            let known: Vec<_> = self
                .expected
                .iter()
                .filter(|(expr, _)| {
                    !unknown.iter().any(|name: &String| expr == name || expr.contains(&format!(", {name})")))
                })
                .collect();
            let mut source = String::from("#define _GNU_SOURCE\n#include <stddef.h>\n");
            for header in self.headers {
                writeln!(source, "#include <{header}>").unwrap();
            }
            source.push_str("int printf(const char *, ...);\nint main(void) {\n");
            for (expr, _) in &known {
                // A 32-bit constant with its top bit set is unsigned here whatever C says.
                writeln!(source, "  printf(\"%lld\\n\", (long long)({expr}));").unwrap();
            }
            source.push_str("  return 0;\n}\n");
            let dir = std::env::temp_dir();
            let out =
                dir.join(format!("abi-headers-{}-{}", std::process::id(), self.headers[0].replace('/', "_")));
            let mut gcc = Command::new("gcc")
                .args(["-w", "-fmax-errors=0", "-x", "c", "-", "-o"])
                .arg(&out)
                .env("LC_ALL", "C")
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            gcc.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
            let compiled = gcc.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&compiled.stderr);
            if !compiled.status.success() {
                let before = unknown.len();
                unknown.extend(errors.lines().filter_map(missing_name));
                assert!(unknown.len() > before, "gcc refused the program for {:?}:\n{errors}", self.headers);
                continue;
            }
            let run = Command::new(&out).output().unwrap();
            std::fs::remove_file(&out).ok();
            let printed = String::from_utf8(run.stdout).unwrap();
            let mut wrong = Vec::new();
            for ((expr, ours), line) in known.iter().zip(printed.lines()) {
                let theirs: i128 = line.parse().unwrap();
                // The same bits, whether C sees 32 of them as signed or 64 as signed.
                if theirs != *ours && theirs as u32 as i128 != *ours && theirs as u64 as i128 != *ours {
                    wrong.push(format!("{expr}: {ours:#x} here, {theirs:#x} in the headers"));
                }
            }
            assert!(wrong.is_empty(), "{:?}:\n{}", self.headers, wrong.join("\n"));
            assert_eq!(printed.lines().count(), known.len());
            return (known.len(), unknown);
        }
        panic!("gcc keeps refusing the program for {:?}", self.headers);
    }
}

/// The name in an error of gcc about something not declared.
fn missing_name(line: &str) -> Option<String> {
    let line = line.replace(['‘', '’'], "'");
    if line.contains("undeclared") {
        return line.split('\'').nth(1).map(str::to_string);
    }
    if line.contains("has no member named") {
        return line.rsplit('\'').nth(1).map(str::to_string);
    }
    None
}

macro_rules! layout {
    ($group:expr, $rust:ty, $c:literal, $($field:ident),*) => {
        $group.layout($c, size_of::<$rust>(), &[$((stringify!($field), std::mem::offset_of!($rust, $field))),*])
    };
}

fn check_all(groups: Vec<Group>) {
    if Command::new("gcc").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no gcc on this machine, nothing was compared");
        return;
    }
    let mut compared = 0;
    for group in groups {
        let (count, missing) = group.check();
        compared += count;
        if !missing.is_empty() {
            eprintln!("not in {:?}: {}", group.headers, missing.into_iter().collect::<Vec<_>>().join(" "));
        }
    }
    eprintln!("{compared} values compared");
    assert!(compared > 50);
}

#[test]
fn constants_are_those_of_the_headers() {
    let errors: Vec<(u32, &str)> = abi::errno::ERRORS.iter().map(|e| (e.number(), e.name())).collect();
    check_all(vec![
        group(&["linux/errno.h"]).table(&errors),
        group(&["linux/signal.h"])
            .table(abi::signal::SIGNALS)
            .table(abi::signal::SI_CODES)
            .table(abi::signal::ILL_CODES)
            .table(abi::signal::FPE_CODES)
            .table(abi::signal::SEGV_CODES)
            .table(abi::signal::BUS_CODES)
            .table(abi::signal::TRAP_CODES)
            .table(abi::signal::CLD_CODES)
            .table(abi::signal::POLL_CODES)
            .table(abi::signal::SYS_CODES)
            .table(abi::signal::SIGPROCMASK_HOW)
            .table(abi::time::SIGEV_NOTIFY)
            .flags::<abi::signal::SaFlags>()
            .flags::<abi::signal::SsFlags>(),
        group(&[
            "fcntl.h",
            "linux/openat2.h",
            "linux/falloc.h",
            "linux/close_range.h",
            "unistd.h",
            "stdio.h",
        ])
        .flags::<abi::open::AccessMode>()
        .flags::<abi::open::ResolveFlags>()
        .flags::<abi::open::FallocateMode>()
        .flags::<abi::open::CloseRangeFlags>()
        .flags::<abi::open::RenameFlags>()
        .flags::<abi::open::SyncFileRangeFlags>()
        .flags::<abi::uio::SpliceFlags>()
        .table(abi::open::SEEK_WHENCE)
        .table(abi::open::FADVICE),
        group(&["linux/fcntl.h"])
            .flags::<abi::open::OpenFlags>()
            .flags::<abi::open::AtFlags>()
            .flags::<abi::fcntl::Seals>()
            .flags::<abi::fcntl::NotifyFlags>()
            .table(abi::fcntl::FCNTL_COMMANDS)
            .table(abi::fcntl::LOCK_TYPES)
            .table(abi::fcntl::OWNER_TYPES)
            .table(abi::fcntl::FLOCK_OPS),
        group(&["linux/stat.h", "linux/magic.h"])
            .flags::<abi::stat::StatxMask>()
            .flags::<abi::stat::StatxAttributes>()
            .table(abi::stat::FILE_TYPES)
            .table(abi::stat::MODE_BITS)
            .table(abi::stat::FS_MAGIC),
        group(&["sys/statvfs.h", "dirent.h"])
            .flags::<abi::stat::StatfsFlags>()
            .table(abi::dirent::DIRENT_TYPES),
        group(&["linux/mman.h", "linux/memfd.h", "linux/mempolicy.h"])
            .flags::<abi::mman::ProtFlags>()
            .flags::<abi::mman::MapFlags>()
            .flags::<abi::mman::MremapFlags>()
            .flags::<abi::mman::MsyncFlags>()
            .flags::<abi::mman::MlockallFlags>()
            .flags::<abi::mman::MlockFlags>()
            .flags::<abi::mman::MemfdFlags>()
            .flags::<abi::mman::GetMempolicyFlags>()
            .table(abi::mman::MADVICE)
            .table(abi::mman::PKEY_RIGHTS)
            .table(abi::mman::MPOL_MODES),
        group(&["linux/sched.h", "linux/wait.h", "linux/kcmp.h"])
            .flags::<abi::clone::CloneFlags>()
            .flags::<abi::wait::WaitOptions>()
            .flags::<abi::sched::SchedFlags>()
            .table(abi::wait::WAITID_TYPES)
            .table(abi::clone::KCMP_TYPES)
            .table(abi::sched::SCHED_POLICIES),
        group(&["linux/futex.h"])
            .flags::<abi::futex::FutexFlags>()
            .table(abi::futex::FUTEX_OPS)
            .table(abi::futex::FUTEX_WAKE_OPS)
            .table(abi::futex::FUTEX_WAKE_CMPS),
        group(&["linux/time.h", "linux/timex.h"])
            .table(abi::time::CLOCKS)
            .table(abi::time::ITIMERS)
            .flags::<abi::time::TimerFlags>()
            .table(abi::time::ADJTIMEX_MODES)
            .table(abi::time::ADJTIMEX_STATUS)
            .table(abi::time::ADJTIMEX_STATES),
        group(&[
            "sys/timerfd.h",
            "sys/eventfd.h",
            "sys/signalfd.h",
            "sys/epoll.h",
            "poll.h",
            "sys/inotify.h",
        ])
        .flags::<abi::time::TfdFlags>()
        .flags::<abi::time::TfdTimerFlags>()
        .flags::<abi::eventfd::EfdFlags>()
        .flags::<abi::signal::SfdFlags>()
        .flags::<abi::poll::EpollFlags>()
        .flags::<abi::poll::EpollEvents>()
        .flags::<abi::poll::PollEvents>()
        .flags::<abi::inotify::InotifyMask>()
        .flags::<abi::inotify::InotifyFlags>()
        .table(abi::poll::EPOLL_CTL_OPS),
        group(&["sys/fanotify.h"])
            .flags::<abi::fanotify::FanInit>()
            .flags::<abi::fanotify::FanMark>()
            .flags::<abi::fanotify::FanMask>()
            .table(abi::fanotify::FAN_INFO_TYPES)
            .table(abi::fanotify::FAN_RESPONSES),
        group(&["sys/socket.h", "netinet/in.h"])
            .flags::<abi::socket::SockFlags>()
            .flags::<abi::socket::MsgFlags>()
            .table(abi::socket::ADDRESS_FAMILIES)
            .table(abi::socket::SOCKET_TYPES)
            .table(abi::socket::SOCKET_OPTIONS)
            .table(abi::socket::IP_PROTOCOLS)
            .table(abi::socket::SHUTDOWN_HOW)
            .table(abi::socket::SCM_TYPES)
            .table(abi::inet::IP_OPTIONS)
            .table(abi::inet::IPV6_OPTIONS),
        group(&["linux/tcp.h"]).table(abi::inet::TCP_OPTIONS),
        group(&[
            "asm/termbits.h",
            "asm/ioctls.h",
            "linux/sockios.h",
            "linux/fs.h",
            "linux/random.h",
            "linux/nsfs.h",
            "linux/fiemap.h",
        ])
        .table(abi::ioctl::IOCTLS)
        .flags::<abi::uio::RwFlags>()
        .flags::<abi::termios::InputFlags>()
        .flags::<abi::termios::OutputFlags>()
        .flags::<abi::termios::ControlFlags>()
        .flags::<abi::termios::LocalFlags>()
        .table(abi::termios::CONTROL_CHARS)
        .table(abi::termios::TCFLUSH_QUEUES)
        .table(abi::termios::TCFLOW_ACTIONS),
        group(&["asm/ioctls.h"]).flags::<abi::termios::PacketFlags>(),
        group(&["linux/resource.h", "linux/ioprio.h"])
            .table(abi::resource::RLIMITS)
            .table(abi::resource::RUSAGE_WHO)
            .table(abi::resource::PRIORITY_WHICH)
            .table(abi::resource::IOPRIO_WHICH)
            .table(abi::resource::IOPRIO_CLASSES),
        group(&["linux/prctl.h", "asm/prctl.h", "linux/capability.h", "linux/securebits.h"])
            .table(abi::prctl::PRCTL_OPS)
            .table(abi::prctl::PR_CAP_AMBIENT_OPS)
            .table(abi::prctl::PR_SET_MM_OPS)
            .table(abi::prctl::PR_MCE_KILL_OPS)
            .table(abi::prctl::PR_MCE_KILL_POLICIES)
            .table(abi::prctl::PR_SPEC_FEATURES)
            .table(abi::prctl::PR_SPEC_STATES)
            .table(abi::prctl::PR_TSC_STATES)
            .table(abi::prctl::ARCH_PRCTL_OPS)
            .table(abi::capability::CAPABILITIES)
            .table(abi::capability::CAPABILITY_VERSIONS)
            .flags::<abi::capability::SecureBits>(),
        group(&["linux/membarrier.h", "linux/seccomp.h", "linux/filter.h"])
            .flags::<abi::membarrier::MembarrierCmd>()
            .flags::<abi::seccomp::SeccompFlags>()
            .table(abi::seccomp::SECCOMP_OPS)
            .table(abi::seccomp::SECCOMP_MODES)
            .table(abi::seccomp::SECCOMP_ACTIONS)
            .table(abi::seccomp::BPF_CLASSES)
            .table(abi::seccomp::BPF_LOADS)
            .table(abi::seccomp::BPF_ALU_OPS)
            .table(abi::seccomp::BPF_JUMPS)
            .table(abi::seccomp::BPF_SOURCES),
        group(&["linux/auxvec.h", "asm/auxvec.h", "linux/elf.h", "linux/personality.h"])
            .table(abi::elf::AUX_KEYS)
            .table(abi::elf::ELF_TYPES)
            .table(abi::elf::SEGMENT_TYPES)
            .table(abi::elf::NOTE_TYPES)
            .flags::<abi::elf::SegmentFlags>()
            .flags::<abi::elf::Personality>(),
        group(&["linux/random.h", "linux/reboot.h"])
            .flags::<abi::sysinfo::GetrandomFlags>()
            .table(abi::sysinfo::REBOOT_COMMANDS),
        group(&["linux/mount.h", "linux/xattr.h", "fcntl.h"])
            .flags::<abi::mount::MountFlags>()
            .flags::<abi::mount::OpenTreeFlags>()
            .flags::<abi::mount::MoveMountFlags>()
            .flags::<abi::mount::FsopenFlags>()
            .flags::<abi::mount::FspickFlags>()
            .flags::<abi::mount::FsmountFlags>()
            .flags::<abi::mount::MountAttrFlags>()
            .flags::<abi::xattr::XattrFlags>()
            .table(abi::mount::FSCONFIG_COMMANDS),
        group(&["sys/mount.h"]).flags::<abi::mount::UmountFlags>(),
        group(&["linux/shm.h", "linux/sem.h", "linux/msg.h"])
            .flags::<abi::ipc::IpcFlags>()
            .flags::<abi::ipc::MsgRcvFlags>()
            .flags::<abi::ipc::ShmFlags>()
            .table(abi::ipc::IPC_COMMANDS)
            .table(abi::ipc::SHM_COMMANDS)
            .table(abi::ipc::SEM_COMMANDS)
            .table(abi::ipc::MSG_COMMANDS),
        group(&["linux/fuse.h"])
            .table(abi::fuse::FUSE_OPCODES)
            .table(abi::fuse::FUSE_NOTIFICATIONS)
            .flags::<abi::fuse::FuseInitFlags>()
            .flags::<abi::fuse::FuseSetattr>(),
        group(&["linux/aio_abi.h", "linux/io_uring.h"])
            .table(abi::aio::IOCB_COMMANDS)
            .flags::<abi::io_uring::IoUringEnterFlags>(),
        group(&["linux/ptrace.h"])
            .table(abi::ptrace::PTRACE_REQUESTS)
            .table(abi::ptrace::PTRACE_EVENTS)
            .table(abi::ptrace::PTRACE_SYSCALL_INFO_OPS)
            .flags::<abi::ptrace::PtraceOptions>(),
    ]);
}

#[test]
fn layouts_are_those_of_the_headers() {
    use abi::{
        aio, capability, clone, elf, fanotify, fcntl, futex, inotify, io_uring, ioctl, ipc, mount, open, poll,
    };
    use abi::{
        ptrace, resource, rseq, sched, seccomp, signal, socket, stat, sysinfo, termios, time, ucontext, uio,
    };
    let mut groups = Vec::new();

    let g = group(&["asm/stat.h", "linux/stat.h", "asm/statfs.h"]);
    let g = layout!(
        g,
        stat::Stat,
        "struct stat",
        st_dev,
        st_ino,
        st_nlink,
        st_mode,
        st_uid,
        st_gid,
        st_rdev,
        st_size,
        st_blksize,
        st_blocks,
        st_atime,
        st_mtime,
        st_ctime
    );
    let g = layout!(
        g,
        stat::Statx,
        "struct statx",
        stx_mask,
        stx_blksize,
        stx_attributes,
        stx_nlink,
        stx_uid,
        stx_gid,
        stx_mode,
        stx_ino,
        stx_size,
        stx_blocks,
        stx_attributes_mask,
        stx_atime,
        stx_btime,
        stx_ctime,
        stx_mtime,
        stx_rdev_major,
        stx_rdev_minor,
        stx_dev_major,
        stx_dev_minor,
        stx_mnt_id,
        stx_dio_mem_align,
        stx_dio_offset_align
    );
    let g = layout!(
        g,
        stat::Statfs,
        "struct statfs",
        f_type,
        f_bsize,
        f_blocks,
        f_bfree,
        f_bavail,
        f_files,
        f_ffree,
        f_fsid,
        f_namelen,
        f_frsize,
        f_flags,
        f_spare
    );
    groups.push(g);

    let g = group(&["asm/signal.h"]);
    let g = layout!(g, signal::SigAction, "struct sigaction", sa_flags, sa_restorer, sa_mask);
    let g = layout!(g, signal::SigStack, "stack_t", ss_sp, ss_flags, ss_size);
    groups.push(g);

    let g = group(&["asm/sigcontext.h", "asm/signal.h", "asm/ucontext.h"]);
    let g = layout!(
        g,
        ucontext::SigContext,
        "struct sigcontext_64",
        r8,
        r15,
        di,
        ax,
        sp,
        ip,
        flags,
        cs,
        gs,
        fs,
        ss,
        err,
        trapno,
        oldmask,
        cr2,
        fpstate
    );
    let g = layout!(
        g,
        ucontext::FpxSwBytes,
        "struct _fpx_sw_bytes",
        magic1,
        extended_size,
        xfeatures,
        xstate_size
    );
    groups.push(g);

    let g = group(&["asm-generic/siginfo.h"]);
    let g = layout!(g, signal::SigInfo, "siginfo_t", si_signo, si_errno, si_code);
    groups.push(layout!(
        g,
        time::SigEvent,
        "struct sigevent",
        sigev_value,
        sigev_signo,
        sigev_notify,
        sigev_notify_thread_id
    ));

    let g = group(&["linux/signalfd.h"]);
    groups.push(layout!(
        g,
        signal::SignalfdSiginfo,
        "struct signalfd_siginfo",
        ssi_signo,
        ssi_errno,
        ssi_code,
        ssi_pid,
        ssi_uid,
        ssi_fd,
        ssi_tid,
        ssi_band,
        ssi_overrun,
        ssi_trapno,
        ssi_status,
        ssi_int,
        ssi_ptr,
        ssi_utime,
        ssi_stime,
        ssi_addr,
        ssi_addr_lsb,
        ssi_syscall,
        ssi_call_addr,
        ssi_arch
    ));

    let g =
        group(&["linux/openat2.h", "linux/sched.h", "linux/sched/types.h", "linux/futex.h", "linux/fcntl.h"]);
    let g = layout!(g, open::OpenHow, "struct open_how", flags, mode, resolve);
    let g =
        layout!(g, clone::CloneArgs, "struct clone_args", flags, pidfd, exit_signal, tls, set_tid, cgroup);
    let g = layout!(
        g,
        sched::SchedAttr,
        "struct sched_attr",
        size,
        sched_policy,
        sched_flags,
        sched_nice,
        sched_priority,
        sched_runtime,
        sched_deadline,
        sched_period,
        sched_util_min,
        sched_util_max
    );
    let g = layout!(g, futex::FutexWaitv, "struct futex_waitv", val, uaddr, flags);
    let g = layout!(g, futex::RobustListHead, "struct robust_list_head", list, futex_offset, list_op_pending);
    let g = layout!(g, fcntl::Flock, "struct flock", l_type, l_whence, l_start, l_len, l_pid);
    let g = layout!(g, fcntl::FOwnerEx, "struct f_owner_ex", pid);
    groups.push(g);

    let g = group(&["linux/time.h", "linux/times.h", "linux/utime.h", "linux/timex.h"]);
    let g = layout!(g, time::Timespec, "struct timespec", tv_sec, tv_nsec);
    let g = layout!(g, time::Timeval, "struct timeval", tv_sec, tv_usec);
    let g = layout!(g, time::Itimerval, "struct itimerval", it_interval, it_value);
    let g = layout!(g, time::Itimerspec, "struct itimerspec", it_interval, it_value);
    let g = layout!(g, time::Timezone, "struct timezone", tz_minuteswest, tz_dsttime);
    let g = layout!(g, time::Tms, "struct tms", tms_utime, tms_cstime);
    let g = layout!(g, time::Utimbuf, "struct utimbuf", actime, modtime);
    let g = layout!(
        g,
        time::Timex,
        "struct __kernel_timex",
        modes,
        offset,
        freq,
        status,
        constant,
        time,
        tick,
        shift,
        stabil,
        tai
    );
    groups.push(g);

    let g = group(&["sys/epoll.h", "poll.h", "sys/inotify.h"]);
    let g = layout!(g, poll::PollFd, "struct pollfd", fd, events, revents);
    let g = layout!(g, poll::EpollEvent, "struct epoll_event", events, data);
    groups.push(layout!(g, inotify::InotifyEvent, "struct inotify_event", wd, mask, cookie, len));

    let g = group(&["sys/fanotify.h"]);
    let g = layout!(
        g,
        fanotify::FanotifyEventMetadata,
        "struct fanotify_event_metadata",
        event_len,
        vers,
        reserved,
        metadata_len,
        mask,
        fd,
        pid
    );
    let g = layout!(
        g,
        fanotify::FanotifyEventInfoHeader,
        "struct fanotify_event_info_header",
        info_type,
        pad,
        len
    );
    let g = layout!(g, fanotify::FanotifyEventInfoPidfd, "struct fanotify_event_info_pidfd", hdr, pidfd);
    groups.push(layout!(g, fanotify::FanotifyResponse, "struct fanotify_response", fd, response));

    let g = group(&["sys/socket.h", "sys/un.h", "netinet/in.h", "sys/uio.h"]);
    let g = layout!(
        g,
        socket::MsgHdr,
        "struct msghdr",
        msg_name,
        msg_namelen,
        msg_iov,
        msg_iovlen,
        msg_control,
        msg_controllen,
        msg_flags
    );
    let g = layout!(g, socket::MMsgHdr, "struct mmsghdr", msg_hdr, msg_len);
    let g = layout!(g, socket::CMsgHdr, "struct cmsghdr", cmsg_len, cmsg_level, cmsg_type);
    let g = layout!(g, socket::UCred, "struct ucred", pid, uid, gid);
    let g = layout!(g, socket::Linger, "struct linger", l_onoff, l_linger);
    let g = layout!(g, socket::SockAddrUn, "struct sockaddr_un", sun_family, sun_path);
    let g = layout!(g, socket::SockAddrIn, "struct sockaddr_in", sin_family, sin_port, sin_addr, sin_zero);
    let g = layout!(
        g,
        socket::SockAddrIn6,
        "struct sockaddr_in6",
        sin6_family,
        sin6_port,
        sin6_flowinfo,
        sin6_addr,
        sin6_scope_id
    );
    groups.push(layout!(g, uio::IoVec, "struct iovec", iov_base, iov_len));

    let g = group(&["linux/netlink.h"]);
    groups.push(layout!(g, socket::SockAddrNl, "struct sockaddr_nl", nl_family, nl_pid, nl_groups));

    let g = group(&["asm/termbits.h", "asm/termios.h", "linux/fs.h"]);
    let g = layout!(g, termios::Termios, "struct termios", c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc);
    let g = layout!(g, termios::Termios2, "struct termios2", c_iflag, c_line, c_cc, c_ispeed, c_ospeed);
    let g = layout!(g, ioctl::WinSize, "struct winsize", ws_row, ws_col, ws_xpixel, ws_ypixel);
    groups.push(layout!(
        g,
        ioctl::FileCloneRange,
        "struct file_clone_range",
        src_fd,
        src_offset,
        src_length,
        dest_offset
    ));

    let g = group(&[
        "linux/resource.h",
        "linux/capability.h",
        "linux/rseq.h",
        "linux/seccomp.h",
        "linux/filter.h",
    ]);
    let g = layout!(g, resource::RLimit, "struct rlimit64", rlim_cur, rlim_max);
    let g = layout!(g, resource::RUsage, "struct rusage", ru_utime, ru_stime, ru_maxrss, ru_nivcsw);
    let g = layout!(g, capability::CapHeader, "struct __user_cap_header_struct", version, pid);
    let g =
        layout!(g, capability::CapData, "struct __user_cap_data_struct", effective, permitted, inheritable);
    let g = layout!(g, capability::VfsCapData, "struct vfs_ns_cap_data", magic_etc, rootid);
    let g = layout!(g, rseq::Rseq, "struct rseq", cpu_id_start, cpu_id, rseq_cs, flags);
    let g =
        layout!(g, rseq::RseqCs, "struct rseq_cs", version, flags, start_ip, post_commit_offset, abort_ip);
    let g = layout!(g, seccomp::SeccompData, "struct seccomp_data", nr, arch, instruction_pointer, args);
    let g = layout!(g, seccomp::SockFilter, "struct sock_filter", code, jt, jf, k);
    let g = layout!(g, seccomp::SockFprog, "struct sock_fprog", len, filter);
    let g = layout!(g, seccomp::SeccompNotifSizes, "struct seccomp_notif_sizes", seccomp_notif, seccomp_data);
    let g = layout!(g, seccomp::SeccompNotif, "struct seccomp_notif", id, pid, flags, data);
    groups.push(layout!(g, seccomp::SeccompNotifResp, "struct seccomp_notif_resp", id, val, error, flags));

    let g = group(&["linux/elf.h", "linux/utsname.h", "linux/sysinfo.h", "linux/mount.h"]);
    let g = layout!(
        g,
        elf::Ehdr,
        "Elf64_Ehdr",
        e_ident,
        e_type,
        e_entry,
        e_phoff,
        e_phentsize,
        e_phnum,
        e_shstrndx
    );
    let g =
        layout!(g, elf::Phdr, "Elf64_Phdr", p_type, p_flags, p_offset, p_vaddr, p_filesz, p_memsz, p_align);
    let g = layout!(g, elf::Nhdr, "Elf64_Nhdr", n_namesz, n_descsz, n_type);
    let g = layout!(g, abi::utsname::UtsName, "struct new_utsname", sysname, nodename, release, domainname);
    let g = layout!(
        g,
        sysinfo::SysInfo,
        "struct sysinfo",
        uptime,
        loads,
        totalram,
        freeswap,
        procs,
        totalhigh,
        freehigh,
        mem_unit
    );
    groups.push(layout!(
        g,
        mount::MountAttr,
        "struct mount_attr",
        attr_set,
        attr_clr,
        propagation,
        userns_fd
    ));

    let g =
        group(&["linux/ipc.h", "asm/shmbuf.h", "asm/sembuf.h", "asm/msgbuf.h", "linux/shm.h", "linux/sem.h"]);
    let g = layout!(g, ipc::IpcPerm, "struct ipc64_perm", key, uid, gid, cuid, cgid, mode, seq);
    let g = layout!(
        g,
        ipc::ShmidDs,
        "struct shmid64_ds",
        shm_perm,
        shm_segsz,
        shm_atime,
        shm_dtime,
        shm_ctime,
        shm_cpid,
        shm_lpid,
        shm_nattch
    );
    let g = layout!(g, ipc::SemidDs, "struct semid64_ds", sem_perm, sem_otime, sem_ctime, sem_nsems);
    let g = layout!(
        g,
        ipc::MsqidDs,
        "struct msqid64_ds",
        msg_perm,
        msg_stime,
        msg_rtime,
        msg_ctime,
        msg_cbytes,
        msg_qnum,
        msg_qbytes,
        msg_lspid,
        msg_lrpid
    );
    let g = layout!(g, ipc::SemBuf, "struct sembuf", sem_num, sem_op, sem_flg);
    let g = layout!(g, ipc::ShmInfo64, "struct shminfo64", shmmax, shmall);
    let g = layout!(g, ipc::ShmInfo, "struct shm_info", used_ids, shm_tot, swap_successes);
    groups.push(layout!(g, ipc::SemInfo, "struct seminfo", semmap, semaem));

    let g = group(&["linux/msg.h", "linux/mqueue.h", "linux/aio_abi.h", "linux/io_uring.h"]);
    let g = layout!(g, ipc::MsgInfo, "struct msginfo", msgpool, msgseg);
    let g = layout!(g, ipc::MqAttr, "struct mq_attr", mq_flags, mq_maxmsg, mq_msgsize, mq_curmsgs);
    let g = layout!(
        g,
        aio::Iocb,
        "struct iocb",
        aio_data,
        aio_key,
        aio_rw_flags,
        aio_lio_opcode,
        aio_reqprio,
        aio_fildes,
        aio_buf,
        aio_nbytes,
        aio_offset,
        aio_flags,
        aio_resfd
    );
    let g = layout!(g, aio::IoEvent, "struct io_event", data, obj, res, res2);
    groups.push(layout!(
        g,
        io_uring::IoUringParams,
        "struct io_uring_params",
        sq_entries,
        cq_entries,
        flags,
        features,
        wq_fd,
        sq_off,
        cq_off
    ));

    let g = group(&["linux/ptrace.h", "sys/user.h"]);
    let g = layout!(g, ptrace::UserRegs, "struct user_regs_struct", r15, rax, orig_rax, rip, fs_base, gs);
    let g = layout!(g, ptrace::PeekSiginfoArgs, "struct ptrace_peeksiginfo_args", off, flags, nr);
    groups.push(layout!(
        g,
        ptrace::PtraceSyscallInfo,
        "struct ptrace_syscall_info",
        op,
        arch,
        instruction_pointer
    ));
    check_all(groups);
}

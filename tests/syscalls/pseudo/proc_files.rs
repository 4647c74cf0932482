//! /proc beside the processes.

use crate::kit::prelude::*;

case!(memory_information: openat, sysinfo);
fn memory_information() {
    let all = text(c"/proc/meminfo");
    let kib = |name: &str| -> u64 {
        let found = all.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        found.and_then(|v| v.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    let (total, free, available) = (kib("MemTotal"), kib("MemFree"), kib("MemAvailable"));
    check(total > 0 && free <= total && available <= total && available > 0, &all);
    let mut info: sysinfo = zeroed();
    ok(sys!(sysinfo, &mut info));
    eq(info.totalram * u64::from(info.mem_unit) / 1024, total);
}

case!(processors: openat, sched_getaffinity);
fn processors() {
    let all = text(c"/proc/cpuinfo");
    let count = all.lines().filter(|l| l.starts_with("processor")).count();
    check(count >= 1, "one at least");
    for name in ["vendor_id", "model name", "cpu MHz", "flags", "cache size", "bogomips"] {
        eq_of(name, all.lines().filter(|l| l.starts_with(name)).count(), count);
    }
    let flags = all.lines().find(|l| l.starts_with("flags")).unwrap_or_default();
    check(flags.split_whitespace().any(|f| f == "sse2"), "the machine's flags");
    let stat = text(c"/proc/stat");
    eq(stat.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")).count(), count);
    let mut set = [0u64; 16];
    ok(sys!(sched_getaffinity, 0, 128, &mut set));
    check(set.iter().map(|w| w.count_ones()).sum::<u32>() as usize <= count, "no more may be used");
}

case!(statistics: openat);
fn statistics() {
    let all = text(c"/proc/stat");
    for name in ["cpu ", "intr ", "ctxt ", "btime ", "processes ", "procs_running ", "procs_blocked "] {
        check(all.lines().any(|l| l.starts_with(name)), name);
    }
    let booted: i64 = all.lines().find_map(|l| l.strip_prefix("btime ")?.parse().ok()).unwrap_or(0);
    let now = now_ns(CLOCK_REALTIME) / 1_000_000_000;
    let up = now_ns(CLOCK_BOOTTIME) / 1_000_000_000;
    within("boot time", booted, now - up - 2, now - up + 2);
}

case!(uptime_and_load: openat, clock_gettime);
fn uptime_and_load() {
    let words = text(c"/proc/uptime");
    let up: f64 = words.split_whitespace().next().and_then(|w| w.parse().ok()).unwrap_or(-1.0);
    let clock = now_ns(CLOCK_BOOTTIME) as f64 / 1e9;
    within("uptime", up, clock - 1.0, clock + 0.1);
    let load = text(c"/proc/loadavg");
    let fields: Vec<&str> = load.split_whitespace().collect();
    eq(fields.len(), 5);
    check(fields[..3].iter().all(|f| f.parse::<f64>().is_ok()), &load);
    check(fields[3].split_once('/').is_some(), "running of all");
}

case!(versions: openat, uname);
fn versions() {
    let mut names = [[0u8; 65]; 6];
    ok(sys!(uname, &mut names));
    let field = |i: usize| {
        let end = names[i].iter().position(|b| *b == 0).unwrap_or(65);
        String::from_utf8_lossy(&names[i][..end]).into_owned()
    };
    let version = text(c"/proc/version");
    check(version.starts_with(&format!("{} version {} ", field(0), field(2))), &version);
    eq(text(c"/proc/sys/kernel/osrelease").trim(), field(2));
    eq(text(c"/proc/sys/kernel/ostype").trim(), "Linux");
    eq(text(c"/proc/sys/kernel/hostname").trim(), field(1));
    eq(text(c"/proc/sys/kernel/version").trim(), field(3));
}

case!(file_systems_and_mounts: openat, readlinkat);
fn file_systems_and_mounts() {
    let known = text(c"/proc/filesystems");
    for name in ["proc", "tmpfs", "devpts"] {
        check(known.lines().any(|l| l == format!("nodev\t{name}")), name);
    }
    eq(std::fs::read_link("/proc/mounts").unwrap_or_default().display().to_string(), "self/mounts");
    let mounts = text(c"/proc/self/mounts");
    for line in mounts.lines() {
        eq_of(line, line.split(' ').count(), 6);
    }
    check(mounts.lines().any(|l| l.split(' ').nth(1) == Some("/")), "the root");
    check(
        mounts.lines().any(|l| l.split(' ').nth(1) == Some("/proc") && l.split(' ').nth(2) == Some("proc")),
        "proc",
    );
    let info = text(c"/proc/self/mountinfo");
    eq(info.lines().count(), mounts.lines().count());
    check(info.lines().all(|l| l.contains(" - ")), "a separator in each line");
}

case!(limits_of_the_system: openat);
fn limits_of_the_system() {
    for (name, least) in [
        (c"/proc/sys/kernel/pid_max", 1000),
        (c"/proc/sys/kernel/threads-max", 100),
        (c"/proc/sys/fs/file-max", 1000),
        (c"/proc/sys/fs/nr_open", 1024),
        (c"/proc/sys/fs/pipe-max-size", 4096),
        (c"/proc/sys/kernel/ngroups_max", 65536),
        (c"/proc/sys/vm/max_map_count", 1000),
        (c"/proc/sys/kernel/cap_last_cap", 37),
    ] {
        let value: i64 = text(name).trim().parse().unwrap_or(-1);
        check(value >= least, format_args!("{name:?} is {value}"));
    }
    check(text(c"/proc/sys/vm/overcommit_memory").trim().parse::<u32>().is_ok_and(|v| v <= 2), "0, 1 or 2");
}

case!(random_identifiers: openat);
fn random_identifiers() {
    let boot = text(c"/proc/sys/kernel/random/boot_id");
    eq((boot.len(), boot.matches('-').count()), (37, 4));
    eq(text(c"/proc/sys/kernel/random/boot_id"), boot);
    let (a, b) = (text(c"/proc/sys/kernel/random/uuid"), text(c"/proc/sys/kernel/random/uuid"));
    eq((a.len(), a.as_bytes()[14]), (37, b'4'));
    check(a != b, "a new one each time");
}

case!(small_reads_and_seeks: read, lseek, pread64);
fn small_reads_and_seeks() {
    let whole = content(c"/proc/self/status");
    let fd = open(c"/proc/self/status", O_RDONLY);
    let first: Vec<u8> = (0..10).flat_map(|_| read(fd, 1)).collect();
    eq(&first, &whole[..10]);
    ok(sys!(lseek, fd, 2, SEEK_SET));
    eq(read(fd, 4), &whole[2..6]);
    let mut buf = [0u8; 4];
    eq(ok(sys!(pread64, fd, &mut buf, 4, 1)), 4);
    eq(buf, &whole[1..5]);
    eq(ok(sys!(pread64, fd, &mut buf, 4, 1 << 20)), 0);
    // Such files say that they are empty.
    eq(fstat(fd).st_size, 0);
    fails(sys!(read, fd, 8, 4), EFAULT);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
}

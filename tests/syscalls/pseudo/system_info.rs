//! uname, sysinfo, host names.

use crate::kit::prelude::*;

fn names() -> [String; 6] {
    let mut raw = [[0u8; 65]; 6];
    ok(sys!(uname, &mut raw));
    raw.map(|n| String::from_utf8_lossy(&n[..n.iter().position(|b| *b == 0).unwrap_or(65)]).into_owned())
}

case!(names_of_the_system: uname);
fn names_of_the_system() {
    let names = names();
    eq((names[0].as_str(), names[4].as_str()), ("Linux", "x86_64"));
    let release: Vec<u32> = names[2].split(['.', '-']).take(2).filter_map(|p| p.parse().ok()).collect();
    check(release.len() == 2 && release[0] >= 4, &names[2]);
    check(names[3].starts_with('#'), &names[3]);
    fails(sys!(uname, 8), EFAULT);
}

case!(personality_changes_the_release: personality, uname);
fn personality_changes_the_release() {
    eq(ok(sys!(personality, 0xffff_ffffu32)), 0);
    in_child(|| {
        eq(ok(sys!(personality, 0x002_0000)), 0);
        check(names()[2].starts_with("2.6."), names()[2].as_str());
        eq(ok(sys!(personality, 0xffff_ffffu32)), 0x002_0000);
    });
}

case!(figures_of_the_system: sysinfo);
fn figures_of_the_system() {
    let mut info: sysinfo = zeroed();
    ok(sys!(sysinfo, &mut info));
    check(info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit >= 1, "memory");
    check(info.procs >= 1, "processes");
    let up = now_ns(CLOCK_BOOTTIME) / 1_000_000_000;
    within("uptime", info.uptime, up - 1, up + 1);
    fails(sys!(sysinfo, 8), EFAULT);
}

case!(host_name_in_a_namespace_of_its_own: unshare, sethostname, setdomainname, uname; root);
fn host_name_in_a_namespace_of_its_own() {
    let before = names();
    in_child(|| {
        ok(sys!(unshare, CLONE_NEWUTS));
        ok(sys!(sethostname, c"another", 7));
        ok(sys!(setdomainname, c"domain", 6));
        eq((names()[1].as_str(), names()[5].as_str()), ("another", "domain"));
        eq(text(c"/proc/sys/kernel/hostname"), "another\n");
        fails(sys!(sethostname, c"x", -1), EINVAL);
        fails(sys!(sethostname, &[b'x'; 65], 65), EINVAL);
        fails(sys!(sethostname, 8, 4), EFAULT);
        become_user(NOBODY);
        fails(sys!(sethostname, c"x", 1), EPERM);
        fails(sys!(setdomainname, c"x", 1), EPERM);
    });
    eq(names(), before);
}

case!(processor_and_node: getcpu);
fn processor_and_node() {
    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    ok(sys!(getcpu, &mut cpu, &mut node, 0));
    check(cpu < 4096 && node < 1024, "small numbers");
    ok(sys!(getcpu, 0, 0, 0));
    fails(sys!(getcpu, 8, 0, 0), EFAULT);
}

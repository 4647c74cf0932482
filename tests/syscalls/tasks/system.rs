//! What concerns the whole machine: asked, and refused to those who may not.

use crate::kit::prelude::*;

case!(kernel_log: syslog);
fn kernel_log() {
    let restricted = std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap_or_default();
    if !is_root() && restricted.trim() != "0" {
        skip("the kernel's log is for root only");
    }
    check(ok(sys!(syslog, 10, 0, 0)) > 0, "the buffer has a size");
    fails(sys!(syslog, 3, 0, 10), EINVAL);
    fails(sys!(syslog, 3, &[0u8; 8], -1), EINVAL);
    eq(ok(sys!(syslog, 3, &[0u8; 8], 0)), 0);
    unprivileged(|| {
        fails(sys!(syslog, 5, 0, 0), EPERM);
        fails(sys!(syslog, 99, 0, 0), EPERM);
    });
}

case!(kernel_log_of_root: syslog; root);
fn kernel_log_of_root() {
    fails(sys!(syslog, 99, 0, 0), EINVAL);
    fails(sys!(syslog, 8, 0, 0), EINVAL);
    fails(sys!(syslog, 8, 0, 9), EINVAL);
    ok(sys!(syslog, 0, 0, 0));
}

case!(reboot_is_refused: reboot);
fn reboot_is_refused() {
    unprivileged(|| fails(sys!(reboot, 0xfee1_deadu32, 0x2812_1969, 0, 0), EPERM));
}

case!(reboot_wants_its_numbers: reboot; root);
fn reboot_wants_its_numbers() {
    fails(sys!(reboot, 0, 0x2812_1969, 0, 0), EINVAL);
    fails(sys!(reboot, 0xfee1_deadu32, 0, 0, 0), EINVAL);
}

//! Control groups on hosts that this machine is not: a small Debian in a virtual machine, with systemd, once on cgroups of version
//! 2 alone and once on the hybrid layout. runc and crun are there too.
//!
//! `RUNSC_VM=1 cargo test -p runsc --test vm` makes the system from packages (once; kept in the target folder), boots it in QEMU and
//! runs this very program in it, whose ignored tests are those in `inside`. It needs root, mmdebstrap and qemu-system-x86.
//! QEMU emulates the processor, unless `RUNSC_VM_ACCEL` names another way, `kvm` for example. `RUNSC_VM_CASES` says which tests run
//! in there, by parts of their names, with commas between.

#![forbid(unsafe_code)]

mod inside;
mod machine;
mod runtime;

use machine::{Layout, Machine};

/// The machine, unless it is not asked for or can't be had here, which is told.
fn machine() -> Option<Machine> {
    if std::env::var_os("RUNSC_VM").is_none() {
        eprintln!("SKIPPED: boots a virtual machine; set RUNSC_VM=1");
        return None;
    }
    match Machine::make() {
        Ok(machine) => Some(machine),
        // It was asked for.
        Err(why) => panic!("{why}"),
    }
}

fn all_is_well_on(layout: Layout) {
    let Some(machine) = machine() else { return };
    let output = machine.boot(layout);
    eprintln!("{output}");
    let summary = output.lines().find(|line| line.starts_with("test result:"));
    let summary = summary.unwrap_or_else(|| panic!("the tests in the virtual machine did not end"));
    assert!(summary.starts_with("test result: ok."), "{summary}");
    assert!(!summary.contains(" 0 passed"), "{summary}");
}

#[test]
fn a_host_with_cgroups_of_version_2_alone() {
    all_is_well_on(Layout::Unified);
}

#[test]
fn a_host_with_the_hybrid_layout() {
    all_is_well_on(Layout::Hybrid);
}

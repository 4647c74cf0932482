//! The dependency directions of the architecture: `abi`, `sync` ← `platform` ← `sentry` ← `syscalls` ← `runsc-cli`, with
//! `gofer-protocol` between `sentry` and `gofer`.

use crate::metadata::{Package, packages};

/// Each crate, and the crates of ours that it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("abi", &[]),
    ("sync", &["abi"]),
    ("host", &[]),
    ("usercopy", &[]),
    ("platform", &["abi", "sync", "host", "usercopy"]),
    ("gofer-protocol", &[]),
    ("gofer", &["gofer-protocol", "host"]),
    ("sentry", &["abi", "sync", "host", "platform", "gofer-protocol"]),
    ("syscalls", &["abi", "sync", "sentry"]),
    ("runsc", &["abi", "sync", "host", "platform", "gofer-protocol", "gofer", "sentry", "syscalls"]),
    ("containerd-shim-runsc-v1", &[]),
    ("compat-matrix", &["syscalls"]),
    ("conformance", &[]),
    ("conformance-cases", &[]),
];

/// Crates through which a host call could be made. What a guest reaches makes them through `host` alone (tests may compare
/// with the host).
const HOST_CALLS: &[&str] = &["libc", "rustix", "nix"];

/// Crates that make no host call of their own.
const NO_HOST_CALLS: &[&str] = &["abi", "sync", "sentry", "syscalls", "compat-matrix"];

#[test]
fn no_crate_points_the_other_way() {
    let all = packages();
    let ours: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
    for package in &all {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            panic!("the crate {} has no place in the architecture: say here what it may know", package.name);
        };
        for dependency in package.dependencies.iter().filter(|d| ours.contains(&d.as_str())) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{} must not know {dependency}; see ARCHITECTURE.md",
                package.name
            );
        }
    }
}

#[test]
fn the_kernel_makes_no_host_call_of_its_own() {
    let kernel = |p: &&Package| NO_HOST_CALLS.contains(&p.name.as_str());
    for package in packages().iter().filter(kernel) {
        let direct = package.linked.iter().find(|d| HOST_CALLS.contains(&d.as_str()));
        assert_eq!(direct, None, "{} must go through the crate `host`", package.name);
    }
}

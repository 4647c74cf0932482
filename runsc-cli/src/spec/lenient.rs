//! Makes of a configuration that runc takes one that the strict types take: what they don't know is left out, and noted.

use abi::capability::CAPABILITIES;
use serde_json::{Map, Value, json};

/// Top-level fields of the specification; others are noted.
const KNOWN: [&str; 14] = [
    "ociVersion",
    "root",
    "mounts",
    "process",
    "hostname",
    "domainname",
    "hooks",
    "annotations",
    "linux",
    "solaris",
    "windows",
    "vm",
    "zos",
    "freebsd",
];

const LIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

const ARCHITECTURES: [&str; 19] = [
    "X86",
    "X86_64",
    "X32",
    "ARM",
    "AARCH64",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
];

/// Patches the JSON of a configuration; gives what was left out.
pub fn patch(spec: &mut Value) -> Vec<String> {
    let mut notes = Vec::new();
    let Value::Object(fields) = spec else { return notes };
    for name in fields.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        notes.push(format!("unknown field {name} is ignored"));
    }
    drop_nulls(spec);
    let Value::Object(fields) = spec else { return notes };
    if let Some(Value::Object(process)) = fields.get_mut("process") {
        patch_process(process, &mut notes);
    }
    if let Some(Value::Object(linux)) = fields.get_mut("linux") {
        patch_linux(linux, &mut notes);
    }
    // Go writes devices and mounts with fields that are empty here.
    if let Some(Value::Array(mounts)) = fields.get_mut("mounts") {
        for mount in mounts.iter_mut().filter_map(Value::as_object_mut) {
            if mount.get("type").is_some_and(|kind| kind == "") {
                mount.remove("type");
            }
        }
    }
    notes
}

/// A field that is null says as much as one that is not there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn patch_process(process: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let user = process.entry("user").or_insert_with(|| json!({}));
    if let Value::Object(user) = user {
        user.entry("uid").or_insert_with(|| json!(0));
        user.entry("gid").or_insert_with(|| json!(0));
    }
    process.entry("cwd").or_insert_with(|| json!(""));
    let known = |name: &str| {
        CAPABILITIES.iter().any(|&(_, known)| known == name || known.strip_prefix("CAP_") == Some(name))
    };
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        for set in sets.values_mut() {
            keep(set, |item| item.as_str().is_none_or(known), "capability", notes);
        }
    }
    if let Some(limits) = process.get_mut("rlimits") {
        let known = |item: &Value| {
            item["type"]
                .as_str()
                .is_none_or(|name| name.strip_prefix("RLIMIT_").is_some_and(|name| LIMITS.contains(&name)))
        };
        keep(limits, known, "resource limit", notes);
    }
    // Advice about scheduling that means nothing for threads of a sandbox.
    for name in ["scheduler", "ioPriority", "execCPUAffinity"] {
        if process.remove(name).is_some() {
            notes.push(format!("process.{name} is ignored"));
        }
    }
}

fn patch_linux(linux: &mut Map<String, Value>, notes: &mut Vec<String>) {
    if let Some(namespaces) = linux.get_mut("namespaces") {
        const KINDS: [&str; 8] = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"];
        keep(
            namespaces,
            |item| item["type"].as_str().is_none_or(|kind| KINDS.contains(&kind)),
            "namespace",
            notes,
        );
    }
    if let Some(Value::Object(seccomp)) = linux.get_mut("seccomp") {
        if let Some(architectures) = seccomp.get_mut("architectures") {
            let known = |item: &Value| {
                item.as_str().is_none_or(|name| {
                    name.strip_prefix("SCMP_ARCH_").is_some_and(|name| ARCHITECTURES.contains(&name))
                })
            };
            keep(architectures, known, "architecture", notes);
        }
        if let Some(flags) = seccomp.get_mut("flags") {
            const FLAGS: [&str; 4] = [
                "SECCOMP_FILTER_FLAG_LOG",
                "SECCOMP_FILTER_FLAG_TSYNC",
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            ];
            keep(flags, |item| item.as_str().is_none_or(|flag| FLAGS.contains(&flag)), "seccomp flag", notes);
        }
    }
    for name in ["memoryPolicy", "netDevices"] {
        if linux.remove(name).is_some() {
            notes.push(format!("linux.{name} is ignored"));
        }
    }
}

/// Keeps the items of a list that are known, and notes the others.
fn keep(list: &mut Value, known: impl Fn(&Value) -> bool, what: &str, notes: &mut Vec<String>) {
    let Value::Array(items) = list else { return };
    items.retain(|item| {
        let keep = known(item);
        if !keep {
            let name = item.as_str().or(item["type"].as_str()).unwrap_or("?");
            notes.push(format!("unknown {what} {name} is ignored"));
        }
        keep
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_runc_takes_is_taken() {
        let text = json!({
            "ociVersion": "1.2.0",
            "futureField": {},
            "root": {"path": "rootfs"},
            "process": {
                "args": ["true"], "cwd": "/", "env": null,
                "capabilities": {"bounding": ["CAP_CHOWN", "CAP_FROM_THE_FUTURE"]},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}, {"type": "RLIMIT_X", "soft": 1, "hard": 1}],
            },
            "linux": {"namespaces": [{"type": "pid"}, {"type": "space"}]},
        });
        let (spec, notes) =
            crate::spec::parse(Path::new("config.json"), text.to_string().as_bytes()).unwrap();
        assert_eq!(notes.len(), 4, "{notes:?}");
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.user().uid(), 0);
        assert_eq!(process.rlimits().as_ref().unwrap().len(), 1);
        assert_eq!(spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap().len(), 1);
    }

    #[test]
    fn broken_ones_say_where() {
        let parse = |text: &str| {
            crate::spec::parse(Path::new("config.json"), text.as_bytes()).unwrap_err().to_string()
        };
        assert!(parse("{").starts_with("config.json: EOF while parsing"));
        assert!(parse(r#"{"process": 7}"#).contains("invalid type"));
        assert!(parse(r#"[]"#).starts_with("config.json: "));
    }
}

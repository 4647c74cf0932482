//! `unsafe` lives in `platform/` and in the conformance cases, and its amount there is known.

use std::path::{Path, PathBuf};

use crate::metadata::{Package, packages};
use crate::source::{count_word, files};

/// How many `unsafe` each crate that may have them has at most. Whoever needs more says why in the commit that raises the
/// number; whoever takes some out lowers it.
const LIMITS: &[(&str, usize)] = &[("platform", 43), ("host", 134), ("usercopy", 23)];

/// The cases do what no honest program does.
const UNCOUNTED: &[&str] = &["conformance-cases"];

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok() == b.canonicalize().ok()
}

fn allowed(name: &str) -> bool {
    UNCOUNTED.contains(&name) || LIMITS.iter().any(|(crate_name, _)| *crate_name == name)
}

#[test]
fn every_other_crate_forbids_it() {
    let (free, bound): (Vec<Package>, Vec<Package>) = packages().into_iter().partition(|p| allowed(&p.name));
    // A crate's root may lie in another's folder, with its modules beside it.
    let elsewhere = |file: &PathBuf| {
        let of = |root: &PathBuf| {
            let folder = root.canonicalize().ok().filter(|r| r.ends_with("main.rs"));
            let modules = folder.as_deref().and_then(Path::parent).map(Path::to_path_buf);
            same(root, file) || modules.zip(file.canonicalize().ok()).is_some_and(|(m, f)| f.starts_with(m))
        };
        free.iter().any(|p| p.roots.iter().any(of))
    };
    for package in &bound {
        for root in &package.roots {
            let text = read(root);
            let forbids = text.contains("#![forbid(unsafe_code)]");
            assert!(forbids, "{} lacks #![forbid(unsafe_code)]", root.display());
        }
        // Tests and benchmarks have roots of their own.
        for file in files(&package.folder).into_iter().filter(|f| !elsewhere(f)) {
            assert_eq!(count_word(&read(&file), "unsafe"), 0, "unsafe code in {}", file.display());
        }
    }
}

#[test]
fn there_is_no_more_of_it() {
    for package in packages() {
        let Some((_, limit)) = LIMITS.iter().find(|(name, _)| *name == package.name) else { continue };
        let count: usize = files(&package.folder).iter().map(|file| count_word(&read(file), "unsafe")).sum();
        assert!(
            count <= *limit,
            "{} has {count} `unsafe`, {limit} are agreed on: do without, or raise the number and say why",
            package.name
        );
        assert!(
            count + 5 + limit / 20 >= *limit,
            "{} has only {count} `unsafe` left of {limit}: lower the number, so that they don't come back",
            package.name
        );
    }
}

//! A tree that is swapped while the guest resolves paths in it leads nowhere else.
//!
//! The guest has a root of its own and cannot name what lies outside of the volume. Somebody outside turns directories into
//! links that lead there, and moves directories out and in. `SWAP_SECONDS=60` takes the time that a full run should.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::build;

use crate::guest::Folder;

fn seconds() -> String {
    std::env::var("SWAP_SECONDS").unwrap_or_else(|_| "2".to_owned())
}

/// Swaps until `done`; how often.
fn swap(top: &Path, done: &AtomicBool) -> u64 {
    let tree = |name: &str| top.join("tree").join(name);
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) {
        // A directory, and a link out in its place; a file likewise.
        let _ = fs::rename(tree("d"), tree("d.kept"));
        let _ = fs::rename(tree("link"), tree("d"));
        let _ = fs::rename(tree("d"), tree("link"));
        let _ = fs::rename(tree("d.kept"), tree("d"));
        let _ = fs::rename(tree("d/f"), tree("d/f.kept"));
        let _ = fs::rename(tree("file-link"), tree("d/f"));
        let _ = fs::rename(tree("d/f"), tree("file-link"));
        let _ = fs::rename(tree("d/f.kept"), tree("d/f"));
        // A directory that is in use goes out and comes back.
        let _ = fs::rename(tree("d/in/use"), top.join("outside/use"));
        let _ = fs::rename(top.join("outside/use"), tree("d/in/use"));
        rounds += 1;
    }
    rounds
}

#[test]
fn a_swapped_tree_leads_nowhere_else() {
    let cases = build::cases().expect("cases");
    for mode in ["shared", "exclusive"] {
        let folder = Folder::new(&format!("swap-{mode}"));
        let top = &folder.0;
        for dir in ["root", "outside/in/use", "tree/d/in/use"] {
            fs::create_dir_all(top.join(dir)).unwrap();
        }
        fs::copy(&cases, top.join("root/cases")).unwrap();
        for name in ["f", "in/f", "secret"] {
            fs::write(top.join("outside").join(name), "outside").unwrap();
        }
        for name in ["d/f", "d/in/f", "d/in/use/f"] {
            fs::write(top.join("tree").join(name), "inside").unwrap();
        }
        symlink(top.join("outside"), top.join("tree/link")).unwrap();
        symlink("../../outside/f", top.join("tree/file-link")).unwrap();
        let mut command = Command::new(build::runsc().expect("runsc"));
        command.arg("do").arg("--root").arg(top.join("root"));
        command.arg(format!("--volume={}:/v:{mode}", top.join("tree").display()));
        command.args(["--", "/cases", "swap", "/v", &seconds()]).stdin(Stdio::null());
        let done = AtomicBool::new(false);
        let (output, rounds) = std::thread::scope(|scope| {
            let swapper = scope.spawn(|| swap(top, &done));
            let output = command.output();
            done.store(true, Ordering::Relaxed);
            (output.expect("runsc"), swapper.join().expect("swapper"))
        });
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode}: {}: {said} {errors}", output.status);
        println!("{mode}: {rounds} swaps; {}", said.trim());
        // Nothing was made outside.
        let mut outside: Vec<String> = fs::read_dir(top.join("outside"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != "use")
            .collect();
        outside.sort();
        assert_eq!(outside, ["f", "in", "secret"], "{mode}");
    }
}

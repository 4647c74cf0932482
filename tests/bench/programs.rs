//! Real programs: the scripts, what they need, and the files they work on.
//!
//! A script runs in the folder of its files, prints nothing but what `$GUEST run` prints, and writes to a folder of
//! its own, in the same place on all subjects.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use conformance::build;

use crate::progress;

/// A script and what has to be there for it.
pub struct Script {
    name: &'static str,
    /// Programs that the script calls.
    pub needs: &'static [&'static str],
    /// For `sh -c`; `$GUEST` is the guest program.
    pub text: &'static str,
}

/// A writable folder in `$D`. With overlays in memory both places are in memory on all sides but the native one.
macro_rules! in_own_folder {
    ($text:literal) => {
        concat!("set -e; D=$(mktemp -d -p .); trap 'rm -rf $D' EXIT; ", $text)
    };
}

const SCRIPTS: &[Script] = &[
    Script {
        name: "tar",
        needs: &["tar"],
        text: "exec $GUEST run 1 sh -c 'tar cf - -C repo . | cat >/dev/null'",
    },
    // GNU tar reads no data for this output.
    Script { name: "tar_usr", needs: &["tar"], text: "exec $GUEST run 1 tar cf /dev/null /usr" },
    Script {
        name: "read_1g",
        needs: &["dd"],
        text: "exec $GUEST run 1 dd if=big of=/dev/null bs=1M status=none",
    },
    Script {
        name: "write_1g",
        needs: &["dd"],
        text: in_own_folder!("$GUEST run 1 dd if=/dev/zero of=$D/big bs=1M count=1024 status=none"),
    },
    Script { name: "find_usr", needs: &["find"], text: "exec $GUEST run 1 find /usr -xdev -name nothing" },
    Script { name: "git_status", needs: &["git"], text: "exec $GUEST run 1 git -C repo status --short" },
    Script {
        name: "gcc_build",
        needs: &["gcc", "make"],
        text: in_own_folder!("cp -r c/. $D; $GUEST run 1 make -s -j2 -C $D"),
    },
    Script {
        name: "compileall",
        needs: &["python3"],
        text: in_own_folder!("cp -r py/. $D; $GUEST run 1 python3 -m compileall -q -f $D"),
    },
    Script {
        name: "sqlite_inserts",
        needs: &["sqlite3"],
        text: in_own_folder!("$GUEST run 1 sqlite3 -init inserts.sql $D/db 'select count(*) from t'"),
    },
    Script {
        name: "redis_unix",
        needs: &["redis-server", "redis-benchmark"],
        text: in_own_folder!(
            "redis-server --port 0 --unixsocket $PWD/$D/s --save '' --dir $D >&2 & \
             until [ -S $D/s ]; do sleep 0.05; done; \
             $GUEST run 1 redis-benchmark -s $PWD/$D/s -n 20000 -c 20 -t get -q; kill $!; wait"
        ),
    },
    Script {
        name: "redis_loopback",
        needs: &["redis-server", "redis-benchmark", "redis-cli"],
        text: in_own_folder!(
            "redis-server --port 16379 --bind 127.0.0.1 --save '' --dir $D >&2 & \
             for i in 1 2 3 4 5 6 7 8 9 10; do \
             redis-cli -p 16379 ping >/dev/null 2>&1 && break; [ $i != 10 ]; sleep 0.1; done; \
             $GUEST run 1 redis-benchmark -p 16379 -n 20000 -c 20 -t get -q; kill $!; wait"
        ),
    },
];

/// The script of a name.
pub fn script(name: &str) -> Option<&'static Script> {
    SCRIPTS.iter().find(|script| script.name == name)
}

/// PATH for all that is measured: the same for all, and with `python3` being the interpreter. Where that is found by a launcher (pyenv's
/// is a shell script with forty forks, ten times as slow as what it launches), the launcher would be measured.
pub fn path() -> &'static OsStr {
    static PATH: OnceLock<OsString> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = folder_of("python3", &path);
        match interpreter_folder().filter(|folder| found.is_some_and(|found| found != *folder)) {
            Some(folder) => {
                let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
                std::env::join_paths(folders).unwrap_or(path)
            }
            None => path,
        }
    })
}

/// Where the interpreter that `python3` starts says that it is, if it is called so there.
fn interpreter_folder() -> Option<PathBuf> {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; print(sys.executable)"]).stdin(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = Path::new(text.trim()).parent()?;
    folder.join("python3").is_file().then(|| folder.to_owned())
}

fn folder_of(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).find(|folder| folder.join(program).is_file())
}

/// The program that is not installed here, if one is missing.
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    programs.iter().copied().find(|program| folder_of(program, path()).is_none())
}

/// The folder with the files that scripts work on, made when it is not there.
pub fn folder() -> Result<PathBuf> {
    let folder = build::target_dir()?.join("bench");
    let finished = folder.join("finished-2");
    if !finished.exists() {
        progress("preparing files for the programs");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        repository(&folder.join("repo"))?;
        c_sources(&folder.join("c"))?;
        python_sources(&folder.join("py"))?;
        big(&folder.join("big"))?;
        inserts(&folder.join("inserts.sql"))?;
        fs::write(&finished, "")?;
    }
    Ok(folder)
}

/// 20,000 small files, under git where that is installed.
fn repository(repo: &Path) -> Result<()> {
    for dir in 0..200 {
        let dir = repo.join(format!("d{}/e{dir}", dir % 20));
        fs::create_dir_all(&dir)?;
        for file in 0..100 {
            fs::write(dir.join(format!("file{file}.txt")), format!("{file}\n").repeat(40))?;
        }
    }
    if missing(&["git"]).is_none() {
        git(repo, &["init", "-q"])?;
        git(repo, &["add", "-A"])?;
        git(repo, &["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", "all"])?;
    }
    Ok(())
}

fn git(repo: &Path, args: &[&str]) -> Result<()> {
    let status = Command::new("git").arg("-C").arg(repo).args(args).stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("git {args:?}: {status}");
    }
    Ok(())
}

/// A program of a dozen files.
fn c_sources(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut objects = String::from("main.o");
    let mut main = String::from("#include <stdio.h>\n");
    for file in 0..12 {
        let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
        for function in 0..40 {
            text.push_str(&format!(
                "static int f{function}(int x) {{ int s = 0; for (int i = 0; i < x; i++) s += i * {function}; \
                 return s; }}\n"
            ));
        }
        text.push_str(&format!("int part{file}(int x) {{ return "));
        text.push_str(&(0..40).map(|f| format!("f{f}(x)")).collect::<Vec<_>>().join(" + "));
        text.push_str("; }\n");
        fs::write(dir.join(format!("part{file}.c")), text)?;
        objects.push_str(&format!(" part{file}.o"));
        main.push_str(&format!("int part{file}(int);\n"));
    }
    main.push_str("int main(void) { int s = 0;\n");
    (0..12).for_each(|file| main.push_str(&format!("s += part{file}({file});\n")));
    main.push_str("printf(\"%d\\n\", s); return 0; }\n");
    fs::write(dir.join("main.c"), main)?;
    fs::write(dir.join("Makefile"), format!("CFLAGS = -O2\nprogram: {objects}\n\tgcc -o $@ $^\n"))?;
    Ok(())
}

/// 1 GiB, none of it holes.
fn big(path: &Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    let piece: Vec<u8> = (0..1 << 20).map(|i: u32| i as u8).collect();
    (0..1024)
        .try_for_each(|_| file.write_all(&piece))
        .with_context(|| format!("can't write {}", path.display()))
}

/// A hundred modules.
fn python_sources(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    for module in 0..100 {
        let mut text = String::from("import os\n\n");
        for function in 0..60 {
            text.push_str(&format!(
                "class C{function}:\n    def method(self, a, b={function}):\n        \
                 return [x * b for x in range(a) if x % {module} != 1]\n\n"
            ));
        }
        fs::write(dir.join(format!("module{module}.py")), text)?;
    }
    Ok(())
}

/// Each insert is a transaction of its own; nothing is synced, since memory can't be.
fn inserts(path: &Path) -> Result<()> {
    let mut text =
        String::from("pragma synchronous = off;\ncreate table t (id integer primary key, v text);\n");
    (0..500).for_each(|i| text.push_str(&format!("insert into t (v) values ('value {i}');\n")));
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

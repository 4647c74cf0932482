//! The runtime by itself, without an engine: an image that umoci unpacks, programs that serve others, and many at once.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::ForLab;
use crate::client::new_name;
use crate::command::{Background, Output, eventually, eventually_within, run};
use crate::lab::{Lab, need};

pub const CASES: &[ForLab] = &[
    ("umoci", umoci),
    ("nginx", nginx),
    ("redis", redis),
    ("postgres", postgres),
    ("many_at_once", many_at_once),
];

/// A runtime with a state directory of its own.
struct Runtime {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Runtime {
    fn new(lab: &Lab, name: &str) -> Result<Runtime> {
        let program = &lab.runtimes.iter().find(|r| r.name == name).context("no such runtime")?.program;
        let folder = tempfile::Builder::new().prefix("runtime-").tempdir_in(lab.folder())?;
        Ok(Runtime { program: program.clone(), folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.path("state")).args(args);
        command
    }

    fn call(&self, args: &[&str]) -> Result<Output> {
        run(&mut self.command(args), "")
    }

    fn bundle(&self) -> String {
        self.path("bundle").display().to_string()
    }

    /// Changes the configuration of the bundle.
    fn configure(&self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let file = self.path("bundle/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
        change(&mut config);
        Ok(fs::write(file, config.to_string())?)
    }

    /// A bundle whose root has the host's programs, read-only, and places to write to.
    fn host_bundle(&self, args: &[&str], uid: u32) -> Result<()> {
        let root = self.path("bundle/rootfs");
        for folder in ["dev", "etc", "proc", "tmp", "usr", "var"] {
            fs::create_dir_all(root.join(folder))?;
        }
        // runc gives a tmpfs the mode of what it covers.
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{name}"), root.join(name))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/tmp:/bin/sh\nserver:x:1234:1234::/tmp:/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\nserver:x:1234:\n")?;
        let own = |kind: &str, at: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": uid, "gid": uid}, "args": args, "cwd": "/tmp",
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LC_ALL=C", "TZ=UTC"],
            },
            "root": {"path": "rootfs"},
            "hostname": "server",
            "mounts": [
                own("proc", "/proc", &[]),
                own("tmpfs", "/dev", &["nosuid", "mode=755"]),
                own("devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"]),
                own("tmpfs", "/dev/shm", &["mode=1777"]),
                own("tmpfs", "/tmp", &["mode=1777"]),
                {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
            ],
            "linux": {"namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
            ]},
        });
        Ok(fs::write(self.path("bundle/config.json"), config.to_string())?)
    }

    /// The container of the bundle, running.
    fn start(&self) -> Result<Server<'_>> {
        let (name, log) = (new_name(), self.path("log"));
        let main = Background::start(&mut self.command(&["run", "--bundle", &self.bundle(), &name]), &log)?;
        Ok(Server { runtime: self, name, _main: main })
    }
}

/// A container, deleted by force when this is dropped.
struct Server<'a> {
    runtime: &'a Runtime,
    name: String,
    _main: Background,
}

impl Server<'_> {
    fn exec(&self, program: &[&str]) -> Result<Output> {
        self.runtime.call(&[&["exec", &self.name][..], program].concat())
    }

    /// Asks until the answer has this in it.
    fn answers(&self, program: &[&str], wanted: &str) -> Result<()> {
        eventually("it answers", || Ok(self.exec(program)?.stdout.contains(wanted))).with_context(|| {
            let log = fs::read_to_string(self.runtime.path("log")).unwrap_or_default();
            format!("log: {log}\nlast: {:?}", self.exec(program))
        })
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.call(&["delete", "--force", &self.name]).and_then(|o| o.status(0)) {
            eprintln!("engines: {} was not deleted: {error:#}", self.name);
        }
    }
}

fn umoci(lab: &mut Lab, runtime: &str) -> Result<()> {
    need("umoci")?;
    need("skopeo")?;
    let image = lab.folder().join("image/image.tar");
    let runtime = Runtime::new(lab, runtime)?;
    let layout = runtime.path("layout").display().to_string();
    let from = format!("docker-archive:{}", image.display());
    let to = format!("oci:{layout}:test");
    run(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", &from, &to]), "")?.status(0)?;
    let image = format!("{layout}:test");
    run(Command::new("umoci").args(["unpack", "--image", &image, &runtime.bundle()]), "")?.status(0)?;
    let script = "id -u; hostname; cat /etc/not-a-program; touch /made; exit 4";
    runtime.configure(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["hostname"] = json!("unpacked");
    })?;
    let bundle = runtime.bundle();
    let out = runtime.call(&["run", "--bundle", &bundle, &new_name()])?.status(4)?;
    out.prints("0\nunpacked\ntext")?;
    // What it wrote is in the bundle, from which umoci can make the next layer.
    ensure!(runtime.path("bundle/rootfs/made").exists());
    run(Command::new("umoci").args(["repack", "--image", &image, &bundle]), "")?.status(0)?;
    Ok(())
}

fn nginx(lab: &mut Lab, runtime: &str) -> Result<()> {
    need("nginx")?;
    let runtime = Runtime::new(lab, runtime)?;
    runtime.host_bundle(&["nginx", "-e", "stderr", "-c", "/etc/nginx.conf"], 0)?;
    fs::write(
        runtime.path("bundle/rootfs/etc/nginx.conf"),
        "daemon off; user root; worker_processes 2; pid /tmp/pid; error_log stderr;\n\
         events {}\n\
         http {\n\
           access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c;\n\
           uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;\n\
           server { listen 127.0.0.1:8080; listen unix:/tmp/socket; location / { return 200 \"it serves $uri\\n\"; }\n\
                    location /passwd { alias /etc/passwd; } }\n\
         }\n",
    )?;
    let server = runtime.start()?;
    let ask = |path: &str| {
        format!("exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3")
    };
    server.answers(&["bash", "-c", &ask("/here")], "it serves /here")?;
    server.answers(&["bash", "-c", &ask("/passwd")], "server:x:1234")?;
    let many = format!("for i in $(seq 50); do ({}) ; done | grep -c 'it serves'", ask("/x"));
    server.exec(&["bash", "-c", &many])?.status(0)?.prints("50")?;
    // It ends as it should when it is asked to.
    runtime.call(&["kill", &server.name, "TERM"])?.status(0)?;
    eventually("it has ended", || Ok(runtime.call(&["list", "--quiet"])?.stdout.is_empty()))
}

fn redis(lab: &mut Lab, runtime: &str) -> Result<()> {
    need("redis-server")?;
    need("redis-cli")?;
    let runtime = Runtime::new(lab, runtime)?;
    let args =
        ["redis-server", "--bind", "127.0.0.1", "--unixsocket", "/tmp/socket", "--save", "", "--dir", "/tmp"];
    runtime.host_bundle(&args, 1234)?;
    let server = runtime.start()?;
    server.answers(&["redis-cli", "ping"], "PONG")?;
    server.answers(&["redis-cli", "-s", "/tmp/socket", "ping"], "PONG")?;
    server.exec(&["redis-cli", "set", "key", "value"])?.status(0)?;
    server.exec(&["redis-cli", "-s", "/tmp/socket", "get", "key"])?.status(0)?.prints("value")?;
    // It forks to write its file.
    server.exec(&["redis-cli", "save"])?.status(0)?.prints("OK")?;
    server.exec(&["redis-cli", "bgrewriteaof"])?.status(0)?;
    server.exec(&["redis-cli", "eval", "return #redis.call('keys', '*')", "0"])?.status(0)?.prints("1")?;
    Ok(())
}

fn postgres(lab: &mut Lab, runtime: &str) -> Result<()> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bin = versions.map(|entry| entry.path().join("bin")).find(|bin| bin.join("postgres").is_file());
    let bin = bin.with_context(|| crate::skip::reason("postgresql is not installed"))?;
    let runtime = Runtime::new(lab, runtime)?;
    let bin = bin.display();
    let script = format!(
        "{bin}/initdb -D /tmp/db -U pg -A trust --locale=C --no-sync >/tmp/log && exec {bin}/postgres -D /tmp/db -F \
         -c unix_socket_directories=/tmp -c listen_addresses=127.0.0.1 -c shared_buffers=16MB -c max_connections=20"
    );
    runtime.host_bundle(&["sh", "-c", &script], 1234)?;
    let server = runtime.start()?;
    let ask = |host: &str, query: &str| {
        let line = format!("{bin}/psql -XAtq -h {host} -U pg -c '{query}' postgres");
        server.exec(&["sh", "-c", &line])
    };
    // It makes a database first.
    let limit = Duration::from_secs(200);
    eventually_within(limit, "it answers", || Ok(ask("/tmp", "select 40 + 2")?.stdout.trim() == "42"))
        .with_context(|| fs::read_to_string(runtime.path("log")).unwrap_or_default())?;
    ask("127.0.0.1", "create table t as select generate_series(1, 1000) g")?.status(0)?;
    ask("/tmp", "select sum(g) from t")?.status(0)?.prints("500500")?;
    Ok(())
}

/// Control groups that have this in their name.
fn cgroups(name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let top = Path::new("/sys/fs/cgroup");
    for controller in fs::read_dir(top)?.flatten().map(|entry| entry.path()).chain([top.to_path_buf()]) {
        for entry in fs::read_dir(&controller).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(name) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn many_at_once(lab: &mut Lab, runtime: &str) -> Result<()> {
    const COUNT: usize = 50;
    let runtime = Runtime::new(lab, runtime)?;
    let mark = format!("engines-{}-{}", std::process::id(), new_name());
    // Those of another engine that is slow to tidy up are none of this one's business.
    let folder = lab.folder().display().to_string();
    let mounts = || -> Result<Vec<String>> {
        let all = fs::read_to_string("/proc/self/mounts")?;
        Ok(all.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect())
    };
    let before = mounts()?;
    let one = |number: usize| {
        let bundle = runtime.path(&format!("{number}"));
        crate::image::tree(&bundle.join("rootfs"))?;
        let text = format!("number {number}");
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["echo", text], "cwd": "/", "env": ["PATH=/bin"]},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "cgroupsPath": format!("/{mark}-{number}"),
                "resources": {"memory": {"limit": 200_000_000}},
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}],
            },
        });
        fs::write(bundle.join("config.json"), config.to_string())?;
        let (bundle, id) = (bundle.display().to_string(), format!("c{number}"));
        if number.is_multiple_of(2) {
            runtime.call(&["run", "--bundle", &bundle, &id])?.status(0)?.prints(&text)?;
            return Ok(());
        }
        runtime.call(&["create", "--bundle", &bundle, &id])?.status(0)?;
        runtime.call(&["start", &id])?.status(0)?;
        eventually("it has ended", || Ok(runtime.call(&["state", &id])?.text()?.contains("\"stopped\"")))?;
        runtime.call(&["delete", &id])?.status(0).map(drop)
    };
    let ends: Vec<Result<()>> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..COUNT).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    ends.into_iter().collect::<Result<()>>()?;
    runtime.call(&["list", "--quiet"])?.status(0)?.prints("")?;
    ensure!(
        fs::read_dir(runtime.path("state"))?.next().is_none(),
        "something is left in the state directory"
    );
    ensure!(cgroups(&mark)?.is_empty(), "left: {:?}", cgroups(&mark));
    ensure!(mounts()? == before, "mounts are left: {:?}", mounts());
    let state = runtime.path("state").display().to_string();
    let left = || run(Command::new("pgrep").args(["-fa", &state]), "");
    ensure!(left()?.stdout.is_empty(), "processes are left: {:?}", left());
    Ok(())
}

//! Engines of this run alone: own state, own sockets, own configuration, stopped at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use conformance::build;

use crate::client::{Client, Engine};
use crate::command::{self, Background, eventually, run};
use crate::image;
use crate::skip;

/// A runtime under test.
pub struct Runtime {
    pub name: &'static str,
    pub program: PathBuf,
}

/// Where everything is.
pub struct Lab {
    /// Stopped before the folder below is removed, and before containerd.
    docker: Option<Background>,
    containerd: Option<Background>,
    folder: tempfile::TempDir,
    image: PathBuf,
    pub runtimes: Vec<Runtime>,
    podman_ready: bool,
    rootless_ready: bool,
    docker_ready: bool,
}

/// Finds a program in PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The same, or the reason to skip.
pub fn need(name: &str) -> Result<PathBuf> {
    program(name).with_context(|| skip::reason(format!("{name} is not installed")))
}

impl Lab {
    /// Makes the image; engines are started when they are asked for.
    pub fn new() -> Result<Lab> {
        let folder = tempfile::Builder::new().prefix("engines-").tempdir()?;
        // Rootless containers look at the image, too.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let image_folder = folder.path().join("image");
        fs::create_dir(&image_folder)?;
        let image = image::archive(&image_folder)?;
        let mut runtimes = vec![Runtime { name: "runc", program: need("runc")? }];
        let runsc = build::runsc()?;
        if run(Command::new(&runsc).args(["create", "--help"]), "")?.status == 0 {
            runtimes.push(Runtime { name: "runsc", program: runsc });
        } else {
            println!("engines: SKIPPED all with runsc: {} has no command create", runsc.display());
        }
        Ok(Lab {
            docker: None,
            containerd: None,
            folder,
            image,
            runtimes,
            podman_ready: false,
            rootless_ready: false,
            docker_ready: false,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> String {
        self.folder().join(name).display().to_string()
    }

    /// The configuration file that makes this project's shim use a runtime.
    pub fn shim_config(&self, runtime: &Runtime) -> Result<String> {
        let file = self.folder().join(format!("shim-{}.toml", runtime.name));
        fs::write(&file, format!("binary_name = \"{}\"\n", runtime.program.display()))?;
        Ok(file.display().to_string())
    }

    /// containerd's socket; starts it.
    pub fn containerd(&mut self) -> Result<String> {
        let socket = self.path("containerd.sock");
        if self.containerd.is_some() {
            return Ok(socket);
        }
        let program = need("containerd")?;
        need("ctr")?;
        let mut handlers = String::new();
        for runtime in &self.runtimes {
            handlers.push_str(&format!(
                "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{0}]\n\
                 runtime_type = \"io.containerd.runc.v2\"\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{0}.options]\n\
                 BinaryName = \"{1}\"\n",
                runtime.name,
                runtime.program.display()
            ));
            let config = self.shim_config(runtime)?;
            handlers.push_str(&format!(
                "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.own-{0}]\n\
                 runtime_type = \"io.containerd.runsc.v1\"\n\
                 pod_annotations = [\"dev.gvisor.*\"]\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.own-{0}.options]\n\
                 TypeUrl = \"io.containerd.runsc.v1.options\"\nConfigPath = \"{config}\"\n",
                runtime.name,
            ));
        }
        let config = format!(
            "version = 2\nroot = \"{root}\"\nstate = \"{state}\"\n\
             [grpc]\naddress = \"{socket}\"\n[ttrpc]\naddress = \"{socket}.ttrpc\"\n[debug]\nlevel = \"debug\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             disable_tcp_service = true\nstream_server_port = \"0\"\nrestrict_oom_score_adj = true\n\
             sandbox_image = \"{image}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{cni}\"\nconf_dir = \"{cni}\"\n\
             {handlers}",
            root = self.path("containerd-root"),
            state = self.path("containerd-state"),
            image = image::PAUSE,
            cni = self.path("cni"),
        );
        let file = self.folder().join("containerd.toml");
        fs::write(&file, config)?;
        let log = self.folder().join("containerd.log");
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        // The shim of this project is found beside the runtime, as an installed one is found in PATH.
        let own = build::shim()?.parent().context("the shim is in no folder")?.to_path_buf();
        let old = std::env::var_os("PATH").unwrap_or_default();
        let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&old)).chain(sbin))?;
        command.env("PATH", path);
        self.containerd = Some(Background::start(&mut command, &log)?);
        let ctr = |args: &[&str]| run(Command::new("ctr").args(["-a", &socket]).args(args), "");
        let daemon = self.containerd.as_mut();
        ready(daemon, &log, || Ok(ctr(&["version"])?.status == 0))?;
        for namespace in ["default", "k8s.io"] {
            let image = self.image.display().to_string();
            ctr(&["-n", namespace, "image", "import", &image])?.status(0)?;
        }
        let pause = image::pause_archive(&self.folder().join("image"))?.display().to_string();
        ctr(&["-n", "k8s.io", "image", "import", &pause])?.status(0)?;
        Ok(socket)
    }

    /// Docker with a runtime; starts it.
    pub fn docker(&mut self, runtime: &str) -> Result<Client> {
        let socket = format!("unix://{}", self.path("docker.sock"));
        let client = Client {
            engine: Engine::Docker,
            prefix: ["docker", "-H", &socket].map(str::to_owned).to_vec(),
            flags: ["--network", "none", "--runtime", runtime].map(str::to_owned).to_vec(),
        };
        if self.docker_ready {
            return Ok(client);
        }
        let program = need("dockerd")?;
        need("docker")?;
        let containerd = self.containerd()?;
        let runtimes: serde_json::Map<String, serde_json::Value> = self
            .runtimes
            .iter()
            .filter(|runtime| runtime.name != "runc")
            .map(|runtime| (runtime.name.to_owned(), serde_json::json!({ "path": runtime.program })))
            .collect();
        let file = self.folder().join("docker.json");
        fs::write(&file, serde_json::json!({ "runtimes": runtimes }).to_string())?;
        let log = self.folder().join("docker.log");
        let mut command = Command::new(program);
        command
            .arg("--config-file")
            .arg(&file)
            .args(["--data-root", &self.path("docker-root"), "--exec-root", &self.path("docker-exec")])
            .args(["--pidfile", &self.path("docker.pid"), "-H", &socket, "--containerd", &containerd])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--shutdown-timeout", "3"]);
        self.docker = Some(Background::start(&mut command, &log)?);
        ready(self.docker.as_mut(), &log, || Ok(client.call(&["version"])?.status == 0))?;
        let image = self.image.display().to_string();
        client.call(&["load", "-i", &image])?.status(0)?;
        self.docker_ready = true;
        Ok(client)
    }

    /// Podman's configuration file, with paths for the user that it is for.
    fn podman_config(&self, name: &str) -> Result<String> {
        // Raising limits needs a capability that the tests' machine may not have.
        let mut config = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                          [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                          [engine.runtimes]\n"
            .to_owned();
        for runtime in &self.runtimes {
            config.push_str(&format!("{} = [\"{}\"]\n", runtime.name, runtime.program.display()));
        }
        let file = self.folder().join(name);
        fs::write(&file, config)?;
        Ok(file.display().to_string())
    }

    /// Podman as root with a runtime.
    pub fn podman(&mut self, runtime: &str) -> Result<Client> {
        need("podman")?;
        let config = self.podman_config("podman.conf")?;
        let prefix = [
            "env".to_owned(),
            format!("CONTAINERS_CONF={config}"),
            "podman".to_owned(),
            "--root".to_owned(),
            self.path("podman-root"),
            "--runroot".to_owned(),
            self.path("podman-run"),
            "--runtime".to_owned(),
            runtime.to_owned(),
        ];
        let client = Client {
            engine: Engine::Podman,
            prefix: prefix.to_vec(),
            flags: ["--network", "none"].map(str::to_owned).to_vec(),
        };
        if !self.podman_ready {
            client.call(&["load", "-i", &self.image.display().to_string()])?.status(0)?;
            self.podman_ready = true;
        }
        Ok(client)
    }

    /// Podman as an ordinary user with a runtime.
    pub fn podman_rootless(&mut self, runtime: &str) -> Result<Client> {
        need("podman")?;
        need("newuidmap")?;
        let user = rootless_user()?;
        let home = self.folder().join("rootless");
        let config = self.podman_config("podman-rootless.conf")?;
        if !self.rootless_ready {
            fs::create_dir_all(home.join("run"))?;
            run(Command::new("chown").arg("-R").arg(&user).arg(&home), "")?.status(0)?;
        }
        let home = home.display().to_string();
        let prefix = [
            "setpriv".to_owned(),
            format!("--reuid={user}"),
            format!("--regid={user}"),
            "--init-groups".to_owned(),
            "env".to_owned(),
            "-C".to_owned(),
            home.clone(),
            format!("HOME={home}"),
            format!("XDG_RUNTIME_DIR={home}/run"),
            format!("CONTAINERS_CONF={config}"),
            "podman".to_owned(),
            "--root".to_owned(),
            format!("{home}/storage"),
            "--runroot".to_owned(),
            format!("{home}/run/storage"),
            "--storage-driver".to_owned(),
            "vfs".to_owned(),
            "--runtime".to_owned(),
            runtime.to_owned(),
        ];
        let client = Client {
            engine: Engine::PodmanRootless,
            prefix: prefix.to_vec(),
            flags: ["--network", "none"].map(str::to_owned).to_vec(),
        };
        if !self.rootless_ready {
            client.call(&["load", "-i", &self.image.display().to_string()])?.status(0)?;
            self.rootless_ready = true;
        }
        Ok(client)
    }
}

/// A user with a range of subordinate ids; made by `.ci/run`, never by a test.
fn rootless_user() -> Result<String> {
    let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let user = ranges.lines().filter_map(|line| line.split(':').next()).find(|user| *user == "runsc-test");
    match user {
        Some(user) => Ok(user.to_owned()),
        None => {
            bail!(skip::reason("there is no user runsc-test with subordinate ids (useradd -m runsc-test)"))
        }
    }
}

/// Waits until a daemon answers.
fn ready(daemon: Option<&mut Background>, log: &Path, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let daemon = daemon.context("the daemon was not started")?;
    let answered = eventually("the daemon answers", || {
        if !daemon.is_running()? {
            bail!("process {} has ended", daemon.pid());
        }
        ask()
    });
    answered.with_context(|| {
        let text = fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(15).collect();
        format!("the end of {}, last line first:\n{}", log.display(), tail.join("\n"))
    })
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Dockerd talks to containerd until its end.
        self.docker = None;
        self.containerd = None;
        if std::env::var_os("ENGINES_KEEP").is_some() {
            eprintln!("engines: kept {}", self.folder().display());
            let kept =
                std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder can be made"));
            let _ = kept.keep();
            return;
        }
        // The user's files belong to ids of its own namespace, and podman mounts its storage on itself.
        let _ = command::run(Command::new("umount").arg("-R").arg(self.path("podman-root")).arg("-q"), "");
        for line in fs::read_to_string("/proc/self/mounts").unwrap_or_default().lines().rev() {
            if let Some(at) = line.split(' ').nth(1)
                && Path::new(at).starts_with(self.folder())
            {
                let _ = command::run(Command::new("umount").args(["-l", at]), "");
            }
        }
    }
}

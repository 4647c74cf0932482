//! Creating a container: its directory, its cgroups, its monitor with Sentry and Gofer, and the hooks in between. What fails
//! takes away what was made before it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use host::process::Child;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use sentry::vfs::MountFlags;

use super::descriptors::Descriptors;
use super::monitor::{self, End, Go, Job, MakerEnd, Plan, Word};
use super::namespaces::{self, Network};
use super::state_file::{self, HostProcess, Saved, Stage};
use super::store::{Locked, Store};
use super::view::View;
use super::{Settings, ask, clock, console, delete, hooks, notify};
use crate::cgroup::Cgroup;
use crate::cgroup::systemd::{self, Owner, Unit};
use crate::config::{
    self, Container, ContainerMount, GoferConfig, Limits, MountKind, SentryConfig, StartHook, Text,
};
use crate::report;
use crate::sandbox::{namespace, streams};
use crate::spec::{self, Bundle};

/// What is to be created.
#[derive(Debug)]
pub struct Wanted {
    /// Its id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Where the monitor's pid is written.
    pub pid_file: Option<PathBuf>,
    /// Where the master of its terminal is sent.
    pub console_socket: Option<PathBuf>,
    /// Whether the command stays, and keeps the master itself.
    pub attached: bool,
    /// What the command was started with besides standard streams.
    pub descriptors: Descriptors,
}

/// What was created.
#[derive(Debug)]
pub struct Created {
    /// Its monitor, a child of this process.
    pub monitor: Child,
    /// The master of its terminal, for a command that stays.
    pub master: Option<OwnedFd>,
}

/// Takes away what was made, unless all went well.
struct Undo<'a> {
    store: &'a Store,
    locked: &'a Locked,
    saved: Saved,
    done: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(error) = delete::destroy(self.store, &self.saved) {
            report::warn(&format!("cleaning up: {error}"));
        }
        if let Err(error) = self.locked.remove() {
            report::warn(&format!("cleaning up: {error}"));
        }
    }
}

/// Creates a container.
pub fn create(settings: &Settings, wanted: Wanted) -> anyhow::Result<Created> {
    let started_ns = config::monotonic_ns();
    let mut bundle = Bundle::load(&wanted.bundle)?;
    for note in &bundle.notes {
        report::warn(note);
    }
    let spec = &bundle.spec;
    spec::check::check(spec)?;
    let Some(process) = spec.process() else { bail!("process is missing from config.json; name a program") };
    let terminal = process.terminal().unwrap_or(false);
    match (&wanted.console_socket, terminal) {
        (None, true) if !wanted.attached => {
            bail!(
                "cannot allocate tty if runc will detach without setting console socket; give --console-socket"
            )
        }
        (Some(_), false) => bail!(
            "cannot use console socket if runc will not detach or allocate tty; set process.terminal, or leave it out"
        ),
        _ => {}
    }
    let store = Store::new(&settings.root);
    let sandbox = sandbox_of(spec, &wanted.id);
    let mut notes = Vec::new();
    let (container, gofer) = convert(&bundle, &wanted.id, settings, &mut notes)?;
    for note in notes.drain(..) {
        report::warn(&note);
    }
    let mut container = container;
    container.namespaces = namespaces::of_pod(spec, &store, &sandbox);
    let network = namespaces::network(spec)?;
    let log = settings.debug_log.as_deref().map(crate::log::open).transpose().context("--debug-log")?;

    let locked = store.make(&wanted.id)?;
    let saved = Saved {
        oci_version: spec.version().clone(),
        id: wanted.id.clone(),
        maker: HostProcess::of(std::process::id() as i32),
        monitor: None,
        helpers: Vec::new(),
        stage: Stage::Creating,
        bundle: bundle.dir.clone(),
        rootfs: bundle.rootfs()?,
        created: clock::now(),
        owner: owner(),
        sandbox: sandbox.clone(),
        cgroup: None,
        annotations: annotations(spec),
    };
    let mut undo = Undo { store: &store, locked: &locked, saved, done: false };
    undo.saved.write(&locked.dir)?;
    let text = std::mem::take(&mut bundle.text);
    let config = locked.dir.join(state_file::CONFIG);
    std::fs::write(&config, text).map_err(super::disk(&config, "writing"))?;
    let spec = &bundle.spec;
    let mut unit_properties = Vec::new();
    if !settings.ignore_cgroups {
        let cgroup = if settings.systemd_cgroup {
            unit_properties = systemd::annotated(&undo.saved.annotations)?;
            Some(unit_cgroup(spec, &wanted.id)?)
        } else {
            named_cgroup(spec, &wanted.id)?
        };
        cgroup.as_ref().map_or(Ok(()), Cgroup::check_unused)?;
        undo.saved.cgroup = cgroup;
    }
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());

    let console = terminal
        .then(|| console::open(console_size(spec), container.process.user.uid))
        .transpose()
        .context("a terminal")?;
    let Descriptors { passed, env, others } = wanted.descriptors;
    let passed = streams::passed(passed)?;
    let mut not_kept = others;
    let mut master = None;
    let mut slave = None;
    if let Some(console) = console {
        match &wanted.console_socket {
            Some(path) => console::send(path, &console).with_context(|| {
                format!("console socket {}; the engine has to listen there", path.display())
            })?,
            None => not_kept.push(console.master.as_raw_fd()),
        }
        slave = Some(console.slave);
        // With a socket, the engine's is the only one from now on.
        master = wanted.console_socket.is_none().then_some(console.master);
    }
    let (stdio, terminal_of_session) = match slave {
        Some(slave) => (streams::of_terminal(&slave)?, Some(slave)),
        None => (streams::for_sandbox()?, None),
    };
    if let Some(resources) = resources {
        container.limits = spec::limits::of(resources, undo.saved.cgroup.is_some());
    }
    container.streams = stdio.each_ref().map(|stream| stream.seen);
    container.passed = passed.iter().map(|stream| stream.seen).collect();
    let layers = settings.overlays.open_store(&undo.saved.rootfs)?;
    container.has_store = layers.is_some();
    if container.notifies {
        container.process.env.push(Text::Utf8(format!("NOTIFY_SOCKET={}/notify.sock", config::NOTIFY_DIR)));
    }
    container.process.env.extend(env.into_iter().map(Text::Utf8));
    let in_container = hooks::InContainer {
        hooks: spec.hooks().as_ref().and_then(|all| all.create_container().clone()).unwrap_or_default(),
        place: hooks::Place {
            dir: undo.saved.rootfs.clone(),
            env: Some(environment(spec)),
            container: locked.dir.clone(),
        },
        saved: undo.saved.clone(),
    };
    let has_hooks = !in_container.hooks.is_empty()
        || spec.hooks().as_ref().is_some_and(|all| {
            [all.create_runtime(), prestart(all)].iter().any(|hooks| !some(hooks).is_empty())
        });
    // The sandbox's processes make a namespace of their own: the host's is only looked at from outside.
    let network = if has_hooks || matches!(network, Network::At(_)) { network } else { Network::Host };
    let view = View::of(&container.mounts, &gofer.trees, container.read_only_root);
    let dir = File::open(&locked.dir).map_err(super::disk(&locked.dir, "opening it"))?.into();
    let plan = Plan {
        job: job(settings, &store, sandbox, container, gofer, log.is_some(), started_ns)?,
        stdio,
        passed,
        store: layers,
        terminal: terminal_of_session,
        cgroup: undo.saved.cgroup.clone(),
        network,
        hooks: has_hooks.then_some(in_container),
        own_namespaces: namespaces::own(spec),
        view,
        lock: locked.number(),
        log,
        started_ns,
        not_kept,
    };
    let (monitor, line) = monitor::start(plan, End::Noted(dir)).context("starting the monitor")?;
    undo.saved.monitor = HostProcess::of(monitor.pid());
    undo.saved.write(&locked.dir)?;
    // Known before they are made, so that they are found whoever is killed.
    let made = undo
        .saved
        .cgroup
        .as_ref()
        .map_or(Ok(()), |cgroup| cgroup.create(monitor.pid(), resources, &unit_properties));
    if let Err(error) = made {
        if error.is_taken() {
            undo.saved.cgroup = None;
        }
        return Err(error.into());
    }
    // An error: it has ended, and says why.
    let _ = line.send(&Go::Begin);
    let program = process_name(spec);
    if has_hooks {
        match line.receive()? {
            Some(Word::Ready) => {}
            other => return Err(failure(other, &program)),
        }
        run_hooks(spec, &undo.saved, monitor.pid(), &locked.dir)?;
        line.send(&Go::On)?;
    }
    undo.saved.helpers = created(&line, &program)?;
    undo.saved.stage = Stage::Created;
    if let Some(path) = &wanted.pid_file {
        write_pid(path, monitor.pid())?;
    }
    undo.saved.write(&locked.dir)?;
    line.send(&Go::Stay)?;
    undo.done = true;
    Ok(Created { monitor, master })
}

/// Writes a pid where the engine looks for it.
pub fn write_pid(path: &Path, pid: i32) -> anyhow::Result<()> {
    state_file::write_new(path, pid.to_string().as_bytes())
        .with_context(|| format!("pid file {}; name a file that can be written", path.display()))
}

/// Waits until a monitor says that it is done; what it has started.
pub fn created(line: &MakerEnd, program: &str) -> anyhow::Result<Vec<HostProcess>> {
    match line.receive()? {
        Some(Word::Done(helpers)) => Ok(helpers.into_iter().filter_map(HostProcess::of).collect()),
        other => Err(failure(other, program)),
    }
}

fn failure(word: Option<Word>, program: &str) -> anyhow::Error {
    match word {
        Some(Word::NotStarted { missing: true, .. }) if !program.contains('/') => {
            anyhow::anyhow!(
                "unable to start container process: exec: {program:?}: executable file not found in $PATH; install it, or name another"
            )
        }
        Some(Word::NotStarted { missing: true, .. }) => anyhow::anyhow!(
            "unable to start container process: exec: {program:?}: stat {program}: no such file or directory; install it, or name another"
        ),
        Some(Word::NotStarted { why, .. }) => {
            anyhow::anyhow!("unable to start container process: exec: {program:?}: {why}")
        }
        Some(Word::Failed(why)) => anyhow::anyhow!(why),
        other => anyhow::anyhow!("the monitor ended early ({other:?}); see --debug-log"),
    }
}

fn process_name(spec: &Spec) -> String {
    let args = spec.process().as_ref().and_then(|process| process.args().as_ref());
    args.and_then(|args| args.first()).cloned().unwrap_or_default()
}

#[allow(deprecated, reason = "engines still use it")]
fn prestart(all: &oci_spec::runtime::Hooks) -> &Option<Vec<oci_spec::runtime::Hook>> {
    all.prestart()
}

fn run_hooks(spec: &Spec, saved: &Saved, pid: i32, dir: &Path) -> anyhow::Result<()> {
    let Some(all) = spec.hooks() else { return Ok(()) };
    let state = hooks::state(saved, pid, "creating");
    let place = hooks::Place::of_runtime(&saved.bundle, dir);
    hooks::run("prestart", some(prestart(all)), &state, &place)?;
    hooks::run("createRuntime", some(all.create_runtime()), &state, &place)?;
    Ok(())
}

/// The items of a list that may be left out.
fn some<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// The environment of the container's process.
fn environment(spec: &Spec) -> Vec<String> {
    spec.process().as_ref().and_then(|process| process.env().clone()).unwrap_or_default()
}

fn job(
    settings: &Settings,
    store: &Store,
    sandbox: String,
    container: Container,
    gofer: GoferConfig,
    log: bool,
    started_ns: u64,
) -> anyhow::Result<Job> {
    if sandbox != container.id {
        let dir = store.dir(&sandbox)?;
        if !dir.join(state_file::SOCKET).exists() {
            bail!("there is no sandbox {sandbox} to join; create it first");
        }
        return Ok(Job::Container { container: Box::new(container), gofer, sandbox: dir });
    }
    let listener = ask::listen(&store.dir(&container.id)?).context("the sandbox's socket")?;
    let own_name = || rustix::system::uname().nodename().to_bytes().to_vec().into();
    let sentry = SentryConfig {
        started_ns,
        log,
        identity: namespace::identity(),
        platform: settings.platform,
        hostname: container.hostname.clone().unwrap_or_else(own_name),
        strace: settings.strace,
        profile: false,
        mounts: Vec::new(),
        streams: Default::default(),
        has_store: false,
        binds_sockets: settings.host_uds.creates(),
        process: None,
        container: Some(container),
    };
    Ok(Job::Sandbox { sentry: Box::new(sentry), gofer, listener })
}

/// What the bundle means for Sentry and Gofer.
fn convert(
    bundle: &Bundle,
    id: &str,
    settings: &Settings,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Container, GoferConfig)> {
    let spec = &bundle.spec;
    let Some(process) = spec.process() else { bail!("process is missing from config.json; name a program") };
    let linux = spec.linux().as_ref();
    let mut mounts = spec::mounts::convert(bundle, &settings.overlays)?;
    // Changes of what lies below a layer stay in there, and so does what goes through its FIFOs and sockets.
    for mount in &mounts.mounts {
        if let MountKind::Tree { tree, overlay: None } = mount.what {
            mounts.trees[tree].host_fifos = settings.host_fifos;
            mounts.trees[tree].host_sockets = settings.host_uds.opens();
            mounts.trees[tree].bound_sockets = settings.host_uds.creates();
        }
    }
    let notifies = notify::socket().is_some();
    if notifies {
        mounts.mounts.push(notify_mount());
    }
    let rootfs = bundle.rootfs()?;
    let filter = linux.and_then(|linux| linux.seccomp().as_ref());
    let texts = |paths: Option<&Vec<String>>| paths.into_iter().flatten().cloned().map(Text::Utf8).collect();
    let read_only_root = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    // In a user namespace they have to be made in it, where that is possible.
    if settings.overlays.of_root().is_none() && (read_only_root || id_maps(spec).is_none()) {
        super::mount_points::make(&rootfs, &mounts.mounts, &mounts.trees);
    }
    let sysctl = linux.and_then(|linux| linux.sysctl().clone()).unwrap_or_default();
    let container = Container {
        id: id.to_owned(),
        hostname: spec.hostname().clone().filter(|name| !name.is_empty()).map(Text::Utf8),
        domainname: spec.domainname().clone().filter(|name| !name.is_empty()).map(Text::Utf8),
        namespaces: Default::default(),
        mounts: mounts.mounts,
        read_only_root,
        devices: linux
            .and_then(|linux| linux.devices().as_ref())
            .into_iter()
            .flatten()
            .map(spec::mounts::device)
            .collect(),
        masked_paths: texts(linux.and_then(|linux| linux.masked_paths().as_ref())),
        read_only_paths: texts(linux.and_then(|linux| linux.readonly_paths().as_ref())),
        sysctl: sysctl.into_iter().collect(),
        notifies,
        limits: Limits::default(),
        streams: Default::default(),
        passed: Vec::new(),
        has_store: false,
        process: spec::process::convert(process, filter, &rootfs, notes)?,
        start_hooks: start_hooks(bundle, id),
    };
    let gofer = GoferConfig {
        log: settings.debug_log.is_some(),
        identity: namespace::identity(),
        trees: mounts.trees,
        id_maps: id_maps(spec),
    };
    Ok((container, gofer))
}

/// A directory in memory for the socket that it says in that it is ready.
fn notify_mount() -> ContainerMount {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    ContainerMount {
        target: Text::Utf8(config::NOTIFY_DIR.to_owned()),
        what: MountKind::Own {
            kind: "tmpfs".to_owned(),
            source: Text::Utf8("notify".to_owned()),
            options: Text::Utf8("mode=755,size=4k,nr_inodes=8".to_owned()),
        },
        flags: flags.bits(),
    }
}

fn start_hooks(bundle: &Bundle, id: &str) -> Vec<StartHook> {
    let all = bundle.spec.hooks().as_ref().and_then(|all| all.start_container().as_ref());
    let state = serde_json::json!({
        "ociVersion": bundle.spec.version(),
        "id": id,
        "status": "created",
        "pid": 1,
        "bundle": bundle.dir,
        "annotations": annotations(&bundle.spec),
    });
    let texts = |strings: &Option<Vec<String>>| strings.iter().flatten().cloned().map(Text::Utf8).collect();
    let hook = |hook: &oci_spec::runtime::Hook| StartHook {
        path: hook.path().clone().into(),
        args: texts(hook.args()),
        env: hook
            .env()
            .clone()
            .unwrap_or_else(|| environment(&bundle.spec))
            .into_iter()
            .map(Text::Utf8)
            .collect(),
        state: Text::Utf8(state.to_string()),
        timeout_ms: hook.timeout().filter(|s| *s > 0).map(|s| s.unsigned_abs() * 1000),
    };
    all.into_iter().flatten().map(hook).collect()
}

/// The mappings of a container with a user namespace of its own.
fn id_maps(spec: &Spec) -> Option<[Vec<config::IdMap>; 2]> {
    let linux = spec.linux().as_ref()?;
    let own =
        linux.namespaces().as_ref()?.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::User);
    let convert = |maps: &Option<Vec<LinuxIdMapping>>| -> Vec<config::IdMap> {
        let one = |map: &LinuxIdMapping| config::IdMap {
            inside: map.container_id(),
            outside: map.host_id(),
            count: map.size(),
        };
        maps.iter().flatten().map(one).collect()
    };
    let maps = [convert(linux.uid_mappings()), convert(linux.gid_mappings())];
    (own && maps.iter().all(|maps| !maps.is_empty())).then_some(maps)
}

fn cgroups_path(spec: &Spec) -> Option<String> {
    let path = spec.linux().as_ref()?.cgroups_path().as_ref()?;
    Some(path.to_string_lossy().into_owned()).filter(|path| !path.is_empty())
}

/// Cgroups that systemd makes.
fn unit_cgroup(spec: &Spec, id: &str) -> anyhow::Result<Cgroup> {
    let owner = if namespaces::is_hosts_root() { Owner::System } else { Owner::User };
    Ok(Unit::of(cgroups_path(spec).as_deref(), id, owner)?.cgroup()?)
}

/// Cgroups that are written to directly, where the engine names some or wants limits.
fn named_cgroup(spec: &Spec, id: &str) -> anyhow::Result<Option<Cgroup>> {
    let Some(linux) = spec.linux() else { return Ok(None) };
    let named = cgroups_path(spec);
    let limits = linux.resources().as_ref().is_some_and(|resources| {
        resources.memory().is_some()
            || resources.cpu().is_some()
            || resources.pids().is_some()
            || resources.block_io().is_some()
            || resources.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty())
            || resources.unified().as_ref().is_some_and(|limits| !limits.is_empty())
            || resources.network().is_some()
            || resources.rdma().as_ref().is_some_and(|limits| !limits.is_empty())
    });
    match named {
        Some(path) => Ok(Some(Cgroup::find(&path)?)),
        None if limits => Ok(Some(Cgroup::find(&format!("/{id}"))?)),
        None => Ok(None),
    }
}

fn console_size(spec: &Spec) -> Option<(u16, u16)> {
    let size = spec.process().as_ref()?.console_size()?;
    Some((size.height().min(u64::from(u16::MAX)) as u16, size.width().min(u64::from(u16::MAX)) as u16))
}

fn annotations(spec: &Spec) -> BTreeMap<String, String> {
    spec.annotations().iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The container whose sandbox this one is in, by the annotations of Kubernetes' runtimes: itself, or the pod's first.
fn sandbox_of(spec: &Spec, id: &str) -> String {
    const KEYS: [(&str, &str); 2] = [
        ("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"),
        ("io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"),
    ];
    let Some(annotations) = spec.annotations() else { return id.to_owned() };
    for (kind, sandbox) in KEYS {
        if annotations.get(kind).is_some_and(|kind| kind == "container")
            && let Some(sandbox) = annotations.get(sandbox)
        {
            return sandbox.clone();
        }
    }
    id.to_owned()
}

/// The name of this process's user, as `list` shows it.
fn owner() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid));
    line.and_then(|line| line.split(':').next()).map_or_else(|| format!("#{uid}"), str::to_owned)
}

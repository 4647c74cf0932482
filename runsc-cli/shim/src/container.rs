//! A container: its runtime, its processes, and what is done to them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;

use crate::api::{
    CreateTaskRequest, ExecProcessRequest, ProcessDetails, ProcessInfo, TaskCreate, TaskExec, TaskExit,
    TaskIo, TaskOnly, TaskStart,
};
use crate::config::Config;
use crate::console::{Console, Socket};
use crate::events::Publisher;
use crate::failure::{Code, Failure};
use crate::process::{Io, Process};
use crate::reaper::{Exit, Reaper};
use crate::runtime::{Runtime, no_streams};
use crate::streams::{self, Names};
use crate::{api, log, mounts, oom};

use prost::Message;

/// What containers of one shim share.
pub struct Shared {
    pub namespace: String,
    pub reaper: Arc<Reaper>,
    pub events: Publisher,
    /// Where the terminals' sockets are made.
    pub socket_folder: PathBuf,
}

/// A container.
pub struct Container {
    pub id: String,
    pub bundle: PathBuf,
    runtime: Runtime,
    shared: Arc<Shared>,
    pub init: Arc<Process>,
    execs: Mutex<HashMap<String, Arc<Process>>>,
    /// Held from before a start until its event is queued, and while an end is told: so no end overtakes its start.
    order: Arc<Mutex<()>>,
    /// Whether the first process's end does not end the others, because they are in no PID namespace of their own.
    shares_pids: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An id becomes the name of files.
fn check_id(id: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(plain) {
        return Err(Failure::new(
            Code::InvalidArgument,
            format!("{id:?} is no id: letters, digits and -_.+ are"),
        ));
    }
    Ok(())
}

impl Container {
    /// Makes the container of a request; everything made so far is removed if that fails.
    pub fn create(request: &CreateTaskRequest, shared: &Arc<Shared>) -> Result<Arc<Container>, Failure> {
        check_id(&request.id)?;
        if !request.checkpoint.is_empty() {
            return Err(Failure::new(
                Code::Unimplemented,
                "restoring from a checkpoint is not supported yet",
            ));
        }
        let bundle = PathBuf::from(&request.bundle);
        let config = Config::of(request.options.as_ref())?;
        config.leave_note(&bundle)?;
        let runtime = Runtime::new(config, &shared.namespace, &bundle, &shared.reaper);
        let names = Names {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let init = Arc::new(Process::new(String::new(), names, Vec::new()));
        let container = Arc::new(Container {
            id: request.id.clone(),
            shares_pids: shares_pids(&bundle),
            bundle,
            runtime,
            shared: Arc::clone(shared),
            init,
            execs: Mutex::default(),
            order: Arc::default(),
        });
        let rootfs = container.bundle.join("rootfs");
        if let Err(error) = mounts::mount_all(&request.rootfs, &rootfs) {
            mounts::unmount_all(&rootfs);
            return Err(error.into());
        }
        if let Err(failure) = container.make_init() {
            mounts::unmount_all(&rootfs);
            return Err(failure);
        }
        let io = TaskIo {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let created = TaskCreate {
            container_id: request.id.clone(),
            bundle: request.bundle.clone(),
            rootfs: request.rootfs.clone(),
            io: Some(io),
            pid: container.init.state().pid,
        };
        shared.events.publish("/tasks/create", "TaskCreate", &created);
        container.watch(&container.init);
        Ok(container)
    }

    fn make_init(&self) -> Result<(), Failure> {
        let pid_file = self.bundle.join("init.pid");
        self.launch(&self.init, &pid_file, |console, given| {
            self.runtime.create(&self.id, &self.bundle, &pid_file, console, given)
        })
    }

    /// Opens the streams or the terminal of a process, has the runtime make it, and takes its pid.
    fn launch(
        &self,
        process: &Process,
        pid_file: &Path,
        make: impl FnOnce(Option<&Path>, streams::Given) -> anyhow::Result<()>,
    ) -> Result<(), Failure> {
        let io = if process.names.terminal {
            let socket = Socket::new(&self.shared.socket_folder)?;
            make(Some(socket.path()), no_streams())?;
            Io::Terminal(Console::start(socket.receive()?, &process.names)?)
        } else {
            let (given, held) = streams::open_all(&process.names)?;
            make(None, given)?;
            Io::Streams(held)
        };
        let text = std::fs::read_to_string(pid_file)
            .with_context(|| format!("can't read {}", pid_file.display()))?;
        let mut state = process.state();
        state.pid = text.trim().parse().with_context(|| format!("{} holds no pid", pid_file.display()))?;
        state.io = io;
        Ok(())
    }

    /// Has the end of a process told to containerd.
    fn watch(self: &Arc<Container>, process: &Arc<Process>) {
        let pid = process.state().pid;
        let (container, process) = (Arc::clone(self), Arc::clone(process));
        self.shared.reaper.watch(pid, move |exit| {
            // The reaper goes on: what follows may wait for a start.
            let told = std::thread::Builder::new().name("exit".to_owned()).stack_size(256 << 10);
            if let Err(error) = told.spawn(move || container.ended(&process, pid, exit)) {
                log::error(&format!("process {pid} has ended, and no thread could be made to tell: {error}"));
            }
        });
    }

    fn ended(&self, process: &Process, pid: u32, exit: Exit) {
        let order = lock(&self.order);
        let is_init = process.exec_id.is_empty();
        if is_init {
            if self.shares_pids {
                // Whatever it left must not outlive the container.
                let _ = self.runtime.kill(&self.id, 9, true);
            }
            if let Some(error) = self.runtime.last_error(0) {
                log::info(&format!("container {}: the runtime's last error: {error}", self.id));
            }
        }
        process.set_exit(exit);
        let event = TaskExit {
            container_id: self.id.clone(),
            id: if is_init { self.id.clone() } else { process.exec_id.clone() },
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at),
        };
        self.shared.events.publish("/tasks/exit", "TaskExit", &event);
        drop(order);
    }

    /// A process by its exec's id, or the first.
    pub fn process(&self, exec_id: &str) -> Result<Arc<Process>, Failure> {
        if exec_id.is_empty() {
            return Ok(Arc::clone(&self.init));
        }
        let found = lock(&self.execs).get(exec_id).cloned();
        found
            .ok_or_else(|| Failure::new(Code::NotFound, format!("there is no exec {exec_id} in {}", self.id)))
    }

    pub fn start(self: &Arc<Container>, exec_id: &str) -> Result<u32, Failure> {
        let process = self.process(exec_id)?;
        let order = lock(&self.order);
        if process.state().started {
            return Err(Failure::new(Code::FailedPrecondition, "the process has been started before"));
        }
        if exec_id.is_empty() {
            self.runtime.start(&self.id)?;
        } else {
            self.start_exec(&process)?;
        }
        let pid = {
            let mut state = process.state();
            state.started = true;
            state.pid
        };
        if exec_id.is_empty() {
            let event = TaskStart { container_id: self.id.clone(), pid };
            self.shared.events.publish("/tasks/start", "TaskStart", &event);
            let (shared, event) = (Arc::clone(&self.shared), TaskOnly { container_id: self.id.clone() });
            // Without a memory controller, or when it has ended already, there is nothing to watch.
            let _ = oom::watch(pid, move || shared.events.publish("/tasks/oom", "TaskOOM", &event));
        } else {
            let event = TaskExec { container_id: self.id.clone(), exec_id: exec_id.to_owned(), pid };
            self.shared.events.publish("/tasks/exec-started", "TaskExecStarted", &event);
            self.watch(&process);
        }
        drop(order);
        Ok(pid)
    }

    fn start_exec(&self, process: &Process) -> Result<(), Failure> {
        let pid_file = self.bundle.join(format!("{}.pid", process.exec_id));
        let spec = self.bundle.join(format!("{}.process.json", process.exec_id));
        std::fs::write(&spec, &process.spec).with_context(|| format!("can't write {}", spec.display()))?;
        let made = self.launch(process, &pid_file, |console, given| {
            self.runtime.exec(&self.id, &spec, &pid_file, console, given)
        });
        for file in [&pid_file, &spec] {
            let _ = std::fs::remove_file(file);
        }
        made
    }

    /// Notes an exec; it is started later.
    pub fn add_exec(&self, request: &ExecProcessRequest) -> Result<(), Failure> {
        check_id(&request.exec_id)?;
        let spec = request.spec.as_ref().map(|any| any.value.as_slice()).unwrap_or_default();
        let mut spec: serde_json::Value = serde_json::from_slice(spec).map_err(|error| {
            Failure::new(Code::InvalidArgument, format!("the exec's process is no JSON: {error}"))
        })?;
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("terminal".to_owned(), request.terminal.into());
        }
        let names = Names {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let process = Process::new(request.exec_id.clone(), names, spec.to_string().into_bytes());
        {
            let mut execs = lock(&self.execs);
            if execs.contains_key(&request.exec_id) {
                let message = format!("there is an exec {} already", request.exec_id);
                return Err(Failure::new(Code::AlreadyExists, message));
            }
            execs.insert(request.exec_id.clone(), Arc::new(process));
        }
        let event = TaskExec { container_id: self.id.clone(), exec_id: request.exec_id.clone(), pid: 0 };
        self.shared.events.publish("/tasks/exec-added", "TaskExecAdded", &event);
        Ok(())
    }

    /// Forgets an exec that has ended.
    pub fn delete_exec(&self, exec_id: &str) -> Result<(u32, Option<Exit>), Failure> {
        let process = self.process(exec_id)?;
        let exit = process.must_have_ended()?;
        process.close();
        lock(&self.execs).remove(exec_id);
        let pid = process.state().pid;
        Ok((pid, exit))
    }

    /// Removes the container, which has ended or was never started.
    pub fn delete(&self) -> Result<(u32, Option<Exit>), Failure> {
        let exit = self.init.must_have_ended()?;
        if exit.is_some() {
            self.runtime.delete(&self.id).or_else(|error| {
                // Gone already, for example with its sandbox.
                if error.to_string().contains("does not exist") { Ok(()) } else { Err(error) }
            })?;
        } else {
            self.runtime.delete_by_force(&self.id)?;
        }
        // One that was never started ends by being removed.
        let exit = exit.or_else(|| self.init.wait_for(Duration::from_secs(5)));
        self.init.close();
        mounts::unmount_all(&self.bundle.join("rootfs"));
        let pid = self.init.state().pid;
        Ok((pid, exit))
    }

    pub fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<(), Failure> {
        let process = self.process(exec_id)?;
        let gone = || Failure::new(Code::NotFound, "the process has ended already");
        let pid = {
            let state = process.state();
            if state.exit.is_some() && !all {
                return Err(gone());
            }
            state.pid
        };
        if exec_id.is_empty() {
            return self.runtime.kill(&self.id, signal, all).map_err(|error| {
                let text = error.to_string();
                let ended = [
                    "not running",
                    "already finished",
                    "does not exist",
                    "no such process",
                    "already stopped",
                ];
                if ended.iter().any(|words| text.contains(words)) { gone() } else { Failure::from(error) }
            });
        }
        if pid == 0 {
            return Err(Failure::new(Code::FailedPrecondition, "the process has not been started"));
        }
        let signal = i32::try_from(signal)
            .ok()
            .and_then(|number| nix::sys::signal::Signal::try_from(number).ok())
            .ok_or_else(|| Failure::new(Code::InvalidArgument, format!("there is no signal {signal}")))?;
        match nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), signal) {
            Err(nix::errno::Errno::ESRCH) => Err(gone()),
            other => Ok(other.context("can't signal the process")?),
        }
    }

    pub fn pause(&self) -> Result<(), Failure> {
        self.runtime.pause(&self.id)?;
        self.init.state().paused = true;
        self.shared.events.publish(
            "/tasks/paused",
            "TaskPaused",
            &TaskOnly { container_id: self.id.clone() },
        );
        Ok(())
    }

    pub fn resume(&self) -> Result<(), Failure> {
        self.runtime.resume(&self.id)?;
        self.init.state().paused = false;
        self.shared.events.publish(
            "/tasks/resumed",
            "TaskResumed",
            &TaskOnly { container_id: self.id.clone() },
        );
        Ok(())
    }

    pub fn update(&self, resources: Option<&api::Any>) -> Result<(), Failure> {
        let json = resources.map(|any| any.value.as_slice());
        let json =
            json.ok_or_else(|| Failure::new(Code::InvalidArgument, "the update names no resources"))?;
        Ok(self.runtime.update(&self.id, json)?)
    }

    /// The host's processes of the container, and which of them an exec started.
    pub fn processes(&self) -> Result<Vec<ProcessInfo>, Failure> {
        let execs: HashMap<u32, String> = lock(&self.execs)
            .values()
            .map(|process| (process.state().pid, process.exec_id.clone()))
            .collect();
        let info = |pid: u32| {
            let details = execs.get(&pid).map(|exec_id| api::Any {
                type_url: "containerd.runc.v1.ProcessDetails".to_owned(),
                value: ProcessDetails { exec_id: exec_id.clone() }.encode_to_vec(),
            });
            ProcessInfo { pid, info: details }
        };
        Ok(self.runtime.processes(&self.id)?.into_iter().map(info).collect())
    }
}

/// Whether the container joins a PID namespace or has that of the host.
fn shares_pids(bundle: &Path) -> bool {
    let text = std::fs::read(bundle.join("config.json")).unwrap_or_default();
    let spec: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let Some(namespaces) = spec.pointer("/linux/namespaces").and_then(|list| list.as_array()) else {
        return false;
    };
    let is_pid = |namespace: &&serde_json::Value| namespace.get("type").is_some_and(|kind| kind == "pid");
    match namespaces.iter().find(is_pid) {
        None => true,
        Some(namespace) => {
            namespace.get("path").and_then(|path| path.as_str()).is_some_and(|path| !path.is_empty())
        }
    }
}

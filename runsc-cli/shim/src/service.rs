//! The task service: each method of it, and which container it is about.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;

use crate::api::{
    CloseIoRequest, ConnectResponse, CreateTaskRequest, DeleteResponse, Empty, ExecProcessRequest,
    KillRequest, PidResponse, PidsResponse, ProcessRequest, ResizePtyRequest, ShutdownRequest, StatsResponse,
    TaskDelete, UpdateTaskRequest, WaitResponse,
};
use crate::container::{Container, Shared};
use crate::failure::{Code, Failure};
use crate::metrics;
use crate::ttrpc::Service;

/// The service's names, of containerd 1.x and of 2.x.
const NAMES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// The containers of this shim.
pub struct Tasks {
    shared: Arc<Shared>,
    containers: Mutex<HashMap<String, Arc<Container>>>,
    /// Set by the first container.
    used: AtomicBool,
    /// Set by a shutdown that is done once it has been answered.
    ending: AtomicBool,
    end: Box<dyn Fn() + Send + Sync>,
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, Failure> {
    M::decode(payload)
        .map_err(|error| Failure::new(Code::InvalidArgument, format!("the request is broken: {error}")))
}

fn answer(message: &impl Message) -> Result<Vec<u8>, Failure> {
    Ok(message.encode_to_vec())
}

fn done() -> Result<Vec<u8>, Failure> {
    answer(&Empty {})
}

impl Tasks {
    /// `end` is called when the shim has been shut down.
    pub fn new(shared: Arc<Shared>, end: impl Fn() + Send + Sync + 'static) -> Tasks {
        let (used, ending) = (AtomicBool::new(false), AtomicBool::new(false));
        Tasks { shared, containers: Mutex::default(), used, ending, end: Box::new(end) }
    }

    /// Whether there is a container, or ever was one.
    pub fn has_had_any(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    fn list(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, Failure> {
        let found = self.list().get(id).cloned();
        found.ok_or_else(|| Failure::new(Code::NotFound, format!("there is no container {id}")))
    }

    fn create(&self, request: &CreateTaskRequest) -> Result<Vec<u8>, Failure> {
        if self.list().contains_key(&request.id) {
            return Err(Failure::new(
                Code::AlreadyExists,
                format!("there is a container {} already", request.id),
            ));
        }
        self.used.store(true, Ordering::Release);
        let container = Container::create(request, &self.shared)?;
        let pid = container.init.state().pid;
        self.list().insert(request.id.clone(), container);
        answer(&PidResponse { pid })
    }

    fn delete(&self, request: &ProcessRequest) -> Result<Vec<u8>, Failure> {
        let container = self.container(&request.id)?;
        let (pid, exit) = if request.exec_id.is_empty() {
            let gone = container.delete()?;
            self.list().remove(&request.id);
            gone
        } else {
            container.delete_exec(&request.exec_id)?
        };
        let (exit_status, exited_at) = (exit.map_or(0, |exit| exit.status), exit.map(|exit| exit.at));
        if request.exec_id.is_empty() {
            let event = TaskDelete { container_id: request.id.clone(), pid, exit_status, exited_at };
            self.shared.events.publish("/tasks/delete", "TaskDelete", &event);
        }
        answer(&DeleteResponse { pid, exit_status, exited_at })
    }

    fn stats(&self, request: &ProcessRequest) -> Result<Vec<u8>, Failure> {
        let container = self.container(&request.id)?;
        let pid = container.init.state().pid;
        let stats = metrics::of(pid);
        if stats.is_none() {
            return Err(Failure::new(Code::NotFound, "the container has ended: it uses nothing"));
        }
        answer(&StatsResponse { stats })
    }

    fn connect(&self, request: &ProcessRequest) -> Result<Vec<u8>, Failure> {
        let task_pid = self.container(&request.id).map_or(0, |container| container.init.state().pid);
        answer(&ConnectResponse { shim_pid: std::process::id(), task_pid, version: "2".to_owned() })
    }

    fn shutdown(&self, request: &ShutdownRequest) -> Result<Vec<u8>, Failure> {
        // A pod's shim lives as long as any of its containers.
        if request.now || self.list().is_empty() {
            self.ending.store(true, Ordering::Release);
        }
        done()
    }
}

impl Service for Tasks {
    fn call(&self, service: &str, method: &str, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        if !NAMES.contains(&service) {
            return Err(Failure::new(Code::Unimplemented, format!("there is no service {service}")));
        }
        match method {
            "Create" => self.create(&decode(payload)?),
            "Start" => {
                let request: ProcessRequest = decode(payload)?;
                answer(&PidResponse { pid: self.container(&request.id)?.start(&request.exec_id)? })
            }
            "State" => {
                let request: ProcessRequest = decode(payload)?;
                let container = self.container(&request.id)?;
                let process = container.process(&request.exec_id)?;
                answer(&process.report(&request.id, &container.bundle.display().to_string()))
            }
            "Wait" => {
                let request: ProcessRequest = decode(payload)?;
                let exit = self.container(&request.id)?.process(&request.exec_id)?.wait();
                answer(&WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) })
            }
            "Delete" => self.delete(&decode(payload)?),
            "Kill" => {
                let request: KillRequest = decode(payload)?;
                self.container(&request.id)?.kill(&request.exec_id, request.signal, request.all)?;
                done()
            }
            "Exec" => {
                let request: ExecProcessRequest = decode(payload)?;
                self.container(&request.id)?.add_exec(&request)?;
                done()
            }
            "ResizePty" => {
                let request: ResizePtyRequest = decode(payload)?;
                let side = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
                let process = self.container(&request.id)?.process(&request.exec_id)?;
                process.resize(side(request.width), side(request.height))?;
                done()
            }
            "CloseIO" => {
                let request: CloseIoRequest = decode(payload)?;
                let process = self.container(&request.id)?.process(&request.exec_id)?;
                if request.stdin {
                    process.close_input();
                }
                done()
            }
            "Pids" => {
                let request: ProcessRequest = decode(payload)?;
                answer(&PidsResponse { processes: self.container(&request.id)?.processes()? })
            }
            "Pause" | "Resume" => {
                let request: ProcessRequest = decode(payload)?;
                let container = self.container(&request.id)?;
                if method == "Pause" {
                    container.pause()?
                } else {
                    container.resume()?
                }
                done()
            }
            "Update" => {
                let request: UpdateTaskRequest = decode(payload)?;
                self.container(&request.id)?.update(request.resources.as_ref())?;
                done()
            }
            "Stats" => self.stats(&decode(payload)?),
            "Connect" => self.connect(&decode(payload)?),
            "Shutdown" => self.shutdown(&decode(payload)?),
            "Checkpoint" => Err(Failure::new(Code::Unimplemented, "checkpoints are not supported yet")),
            other => Err(Failure::new(Code::Unimplemented, format!("there is no method {other}"))),
        }
    }

    fn answered(&self, method: &str) {
        if method == "Shutdown" && self.ending.load(Ordering::Acquire) {
            self.shared.events.finish();
            (self.end)();
        }
    }
}

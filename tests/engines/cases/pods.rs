//! Pods, through containerd's service for Kubernetes: with the stock shim, and with this project's.

use std::cell::Cell;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::ForLab;
use crate::client::new_name;
use crate::command::eventually;
use crate::cri::{
    ContainerConfig, ContainerSecurity, ContainerStatus, CreateContainer, Cri, Empty, ExecSync, Executed, Id,
    LinuxContainer, LinuxPod, Named, NamespaceOptions, PodConfig, PodMetadata, PodSecurity, RunPod, Status,
    StopContainer,
};
use crate::image;
use crate::lab::Lab;

pub const CASES: &[ForLab] = &[
    ("stock_shim_pod", |lab, runtime| pod(lab, runtime)),
    ("pod", |lab, runtime| pod(lab, &format!("own-{runtime}"))),
    ("pod_shares_processes", |lab, runtime| shared_processes(lab, &format!("own-{runtime}"))),
];

const OF_POD: i32 = 0;
const OF_CONTAINER: i32 = 1;
const OF_HOST: i32 = 2;

const EXITED: i32 = 2;

/// A pod, removed when this is dropped.
struct Pod {
    cri: Cri,
    id: String,
    config: PodConfig,
    namespaces: NamespaceOptions,
    removed: Cell<bool>,
}

impl Pod {
    fn run(lab: &mut Lab, handler: &str, pid: i32) -> Result<Pod> {
        let cri = Cri { socket: PathBuf::from(lab.containerd()?) };
        // There is no plugin for networks: the pod has the host's, which in a sandbox is the sandbox's own.
        let namespaces = NamespaceOptions { network: OF_HOST, pid, ipc: OF_POD };
        let name = new_name();
        let config = PodConfig {
            metadata: Some(PodMetadata { name: name.clone(), uid: name, namespace: "tests".to_owned() }),
            log_directory: lab.folder().join("pods").display().to_string(),
            linux: Some(LinuxPod {
                security: Some(PodSecurity { namespaces: Some(namespaces) }),
                ..LinuxPod::default()
            }),
            ..PodConfig::default()
        };
        let request = RunPod { config: Some(config.clone()), handler: handler.to_owned() };
        let Id { id } = cri.call("RunPodSandbox", &request)?;
        Ok(Pod { cri, id, config, namespaces, removed: Cell::new(false) })
    }

    /// A container that runs this.
    fn start(&self, command: &[&str]) -> Result<String> {
        let name = new_name();
        let security = ContainerSecurity { namespaces: Some(self.namespaces) };
        let config = ContainerConfig {
            log_path: format!("{name}.log"),
            metadata: Some(Named { name }),
            image: Some(Named { name: image::NAME.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            linux: Some(LinuxContainer { security: Some(security) }),
        };
        let (pod, pod_config) = (self.id.clone(), Some(self.config.clone()));
        let request = CreateContainer { pod, config: Some(config), pod_config };
        let Id { id } = self.cri.call("CreateContainer", &request)?;
        self.cri.call::<Empty>("StartContainer", &Id { id: id.clone() })?;
        Ok(id)
    }

    fn exec(&self, id: &str, command: &[&str]) -> Result<(i32, String)> {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecSync { id: id.to_owned(), command, timeout_s: 50 };
        let done: Executed = self.cri.call("ExecSync", &request)?;
        let text = [done.stdout, done.stderr].concat();
        Ok((done.status, String::from_utf8_lossy(&text).into_owned()))
    }

    fn status(&self, id: &str) -> Result<Status> {
        let status: ContainerStatus = self.cri.call("ContainerStatus", &Id { id: id.to_owned() })?;
        status.status.context("no status")
    }

    fn remove(&self) -> Result<()> {
        self.cri.call::<Empty>("StopPodSandbox", &Id { id: self.id.clone() })?;
        self.cri.call::<Empty>("RemovePodSandbox", &Id { id: self.id.clone() })?;
        self.removed.set(true);
        Ok(())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if !self.removed.get()
            && let Err(error) = self.remove()
        {
            eprintln!("engines: pod {} was not removed: {error:#}", self.id);
        }
    }
}

fn pod(lab: &mut Lab, handler: &str) -> Result<()> {
    let pod = Pod::run(lab, handler, OF_CONTAINER)?;
    let port = (20_000 + std::process::id() % 20_000).to_string();
    let serve = format!("echo kept > /dev/shm/x; nc -ll -p {port} -e /bin/echo shared");
    let first = pod.start(&["sh", "-c", &serve])?;
    let second = pod.start(&["sleep", "1000"])?;
    ensure!(pod.exec(&second, &["sh", "-c", "echo inside; exit 3"])? == (3, "inside\n".to_owned()));
    // One kernel, one network, one place for shared memory; but each its own processes.
    let boot = ["cat", "/proc/sys/kernel/random/boot_id"];
    ensure!(pod.exec(&first, &boot)? == pod.exec(&second, &boot)?, "two kernels");
    for kind in ["ipc", "net"] {
        let link = format!("/proc/self/ns/{kind}");
        ensure!(
            pod.exec(&first, &["readlink", &link])? == pod.exec(&second, &["readlink", &link])?,
            "two of {kind}"
        );
    }
    let ask = format!("nc 127.0.0.1 {port} </dev/null");
    eventually(
        "the other container answers",
        || Ok(pod.exec(&second, &["sh", "-c", &ask])?.1 == "shared\n"),
    )?;
    ensure!(pod.exec(&second, &["cat", "/dev/shm/x"])? == (0, "kept\n".to_owned()));
    ensure!(!pod.exec(&second, &["ps"])?.1.contains("kept"), "it sees processes of the other");
    // One ends by itself, one is stopped; the pod goes on.
    let third = pod.start(&["sh", "-c", "exit 7"])?;
    eventually("it has ended", || Ok(pod.status(&third)?.state == EXITED))?;
    ensure!(pod.status(&third)?.exit_code == 7);
    pod.cri.call::<Empty>("StopContainer", &StopContainer { id: first.clone(), timeout_s: 1 })?;
    let status = pod.status(&first)?;
    ensure!(status.state == EXITED && status.exit_code == 137, "{status:?}");
    ensure!(pod.exec(&second, &["true"])?.0 == 0);
    pod.cri.call::<Empty>("RemoveContainer", &Id { id: first })?;
    pod.remove()
}

fn shared_processes(lab: &mut Lab, handler: &str) -> Result<()> {
    let pod = Pod::run(lab, handler, OF_POD)?;
    let _first = pod.start(&["sleep", "4711"])?;
    let second = pod.start(&["sleep", "1000"])?;
    let listed = || Ok(pod.exec(&second, &["ps"])?.1);
    eventually("it sees processes of the other", || Ok(listed()?.contains("sleep 4711"))).with_context(
        || format!("listed: {:?}", listed().unwrap_or_else(|error: anyhow::Error| error.to_string())),
    )?;
    pod.remove()
}

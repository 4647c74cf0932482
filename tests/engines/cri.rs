//! A client of the Container Runtime Interface, as a kubelet is: unary gRPC over a Unix socket, a connection for each call.
//! Names and numbers of the messages are those of the public protocol file of `runtime.v1`; what no case needs is left out.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use prost::Message;

use crate::command::LIMIT;

/// The service behind a socket.
pub struct Cri {
    pub socket: PathBuf,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// Modes of namespaces: 0 the pod's, 1 the container's, 2 the host's.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct NamespaceOptions {
    #[prost(int32, tag = "1")]
    pub network: i32,
    #[prost(int32, tag = "2")]
    pub pid: i32,
    #[prost(int32, tag = "3")]
    pub ipc: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodSecurity {
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<NamespaceOptions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LinuxPod {
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    pub security: Option<PodSecurity>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodConfig {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodMetadata>,
    #[prost(string, tag = "2")]
    pub hostname: String,
    #[prost(string, tag = "3")]
    pub log_directory: String,
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPod>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunPod {
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodConfig>,
    #[prost(string, tag = "2")]
    pub handler: String,
}

/// Requests that hold nothing but an id, and answers like that.
#[derive(Clone, PartialEq, Message)]
pub struct Id {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerSecurity {
    #[prost(message, optional, tag = "3")]
    pub namespaces: Option<NamespaceOptions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LinuxContainer {
    #[prost(message, optional, tag = "2")]
    pub security: Option<ContainerSecurity>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<Named>,
    #[prost(message, optional, tag = "2")]
    pub image: Option<Named>,
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    #[prost(string, tag = "11")]
    pub log_path: String,
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainer>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateContainer {
    #[prost(string, tag = "1")]
    pub pod: String,
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pub pod_config: Option<PodConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExecSync {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, repeated, tag = "2")]
    pub command: Vec<String>,
    #[prost(int64, tag = "3")]
    pub timeout_s: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Executed {
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub status: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct StopContainer {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(int64, tag = "2")]
    pub timeout_s: i64,
}

/// States: 0 created, 1 running, 2 exited.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerStatus {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Empty {}

/// Kinds of HTTP/2 frames (RFC 9113), and flags of theirs.
mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

impl Cri {
    /// Calls a method of the runtime service.
    pub fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A> {
        self.exchange(method, request).with_context(|| format!("CRI: {method}"))
    }

    fn exchange<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        send(&mut stream, frame::SETTINGS, 0, 0, &[])?;
        // HPACK (RFC 7541) without compression: POST and http are in its table, as are the names of three more fields.
        let mut headers = vec![0x83, 0x86];
        for (name, value) in [
            (&[0x04][..], format!("/runtime.v1.RuntimeService/{method}")),
            (&[0x01], "localhost".to_owned()),
            (&[0x0f, 0x10], "application/grpc".to_owned()),
            (&[0x00, 2, b't', b'e'], "trailers".to_owned()),
        ] {
            headers.extend(name);
            ensure!(value.len() < 127, "{value} is too long a field");
            headers.push(value.len() as u8);
            headers.extend(value.bytes());
        }
        send(&mut stream, frame::HEADERS, frame::END_HEADERS, 1, &headers)?;
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len())?.to_be_bytes();
        send(&mut stream, frame::DATA, frame::END_STREAM, 1, &[&[0][..], &length, &message].concat())?;
        let mut body = Vec::new();
        loop {
            let (kind, flags, payload) = receive(&mut stream)?;
            match kind {
                frame::SETTINGS | frame::PING if flags & frame::ACK == 0 => {
                    let back = if kind == frame::PING { &payload[..] } else { &[] };
                    send(&mut stream, kind, frame::ACK, 0, back)?;
                }
                frame::DATA => body.extend(&payload),
                frame::RST_STREAM | frame::GOAWAY => bail!("the connection was given up: {payload:?}"),
                _ => {}
            }
            if matches!(kind, frame::DATA | frame::HEADERS) && flags & frame::END_STREAM != 0 {
                break;
            }
        }
        // What went wrong is in the trailer, in Huffman's code; containerd's log has it in plain text.
        ensure!(body.len() >= 5, "it failed; see the log of containerd");
        Ok(A::decode(&body[5..])?)
    }
}

fn send(stream: &mut UnixStream, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<()> {
    let length = u32::try_from(payload.len())?.to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    Ok(stream.write_all(&bytes)?)
}

fn receive(stream: &mut UnixStream) -> Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], head[4], payload))
}

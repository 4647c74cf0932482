//! ttrpc, containerd's small form of gRPC: frames of ten bytes of header and a protobuf message over a stream socket.
//!
//! Header: length (4 bytes, big endian), stream (4 bytes), type (1 byte: 1 request, 2 response), flags (1 byte). A stream
//! here carries one request and its response.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;

use crate::failure::{Code, Failure};

const HEADER: usize = 10;
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
/// The longest message that there may be, as in containerd.
const MAX_LENGTH: usize = 4 << 20;

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(string, tag = "2")]
    pub method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
    #[prost(int64, tag = "4")]
    pub timeout_ns: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

struct Frame {
    stream: u32,
    kind: u8,
    body: Vec<u8>,
}

/// The next frame; `None` at the end of the connection.
fn read_frame(from: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut header = [0; HEADER];
    match from.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let length = number(0) as usize;
    if length > MAX_LENGTH {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {length} bytes is too long"),
        ));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Frame { stream: number(4), kind: header[8], body }))
}

fn write_frame(to: &mut impl Write, stream: u32, kind: u8, body: &[u8]) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the message is too long");
    let length = u32::try_from(body.len()).ok().filter(|n| *n as usize <= MAX_LENGTH).ok_or_else(too_long)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_be_bytes());
    bytes.extend(stream.to_be_bytes());
    bytes.extend([kind, 0]);
    bytes.extend(body);
    to.write_all(&bytes)
}

/// Something that answers requests; called from a thread a request.
pub trait Service: Send + Sync + 'static {
    fn call(&self, service: &str, method: &str, payload: &[u8]) -> Result<Vec<u8>, Failure>;

    /// The answer has been sent.
    fn answered(&self, method: &str);
}

/// Answers the requests of one connection until it ends.
pub fn serve_connection(connection: UnixStream, service: &Arc<impl Service>) -> io::Result<()> {
    let mut reader = connection.try_clone()?;
    let writer = Arc::new(Mutex::new(connection));
    while let Some(frame) = read_frame(&mut reader)? {
        if frame.kind != REQUEST {
            continue;
        }
        let (service, writer) = (Arc::clone(service), Arc::clone(&writer));
        std::thread::Builder::new().name("request".to_owned()).stack_size(256 << 10).spawn(move || {
            let (method, result) = match Request::decode(frame.body.as_slice()) {
                Ok(r) => (r.method.clone(), service.call(&r.service, &r.method, &r.payload)),
                Err(e) => {
                    (String::new(), Err(Failure::new(Code::InvalidArgument, format!("no request: {e}"))))
                }
            };
            let response = match result {
                Ok(payload) => Response { status: None, payload },
                Err(failure) => Response {
                    status: Some(Status { code: failure.code as i32, message: failure.message }),
                    payload: Vec::new(),
                },
            };
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            // A client that has gone wants no answer.
            let _ = write_frame(&mut *writer, frame.stream, RESPONSE, &response.encode_to_vec());
            drop(writer);
            service.answered(&method);
        })?;
    }
    Ok(())
}

/// A client that makes one call after the other.
pub struct Client {
    connection: UnixStream,
    next_stream: u32,
}

impl Client {
    pub fn connect(path: &str) -> io::Result<Client> {
        let connection = UnixStream::connect(path)?;
        let limit = Some(std::time::Duration::from_secs(10));
        connection.set_read_timeout(limit)?;
        connection.set_write_timeout(limit)?;
        // Those of a client are odd.
        Ok(Client { connection, next_stream: 1 })
    }

    pub fn call(&mut self, service: &str, method: &str, payload: Vec<u8>) -> io::Result<Response> {
        let stream = self.next_stream;
        self.next_stream = self.next_stream.wrapping_add(2);
        let request = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload,
            timeout_ns: 5_000_000_000,
        };
        write_frame(&mut self.connection, stream, REQUEST, &request.encode_to_vec())?;
        loop {
            let frame = read_frame(&mut self.connection)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if frame.kind == RESPONSE && frame.stream == stream {
                return Response::decode(frame.body.as_slice())
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Service for Echo {
        fn call(&self, service: &str, method: &str, payload: &[u8]) -> Result<Vec<u8>, Failure> {
            match method {
                "Echo" => Ok([service.as_bytes(), payload].concat()),
                _ => Err(Failure::new(Code::Unimplemented, format!("no method {method}"))),
            }
        }

        fn answered(&self, _method: &str) {}
    }

    #[test]
    fn a_call_is_answered_and_an_error_is_told() {
        let (near, far) = UnixStream::pair().expect("a pair");
        std::thread::spawn(move || serve_connection(far, &Arc::new(Echo)));
        let mut client = Client { connection: near, next_stream: 1 };
        let answer = client.call("name", "Echo", b"payload".to_vec()).expect("an answer");
        assert_eq!(answer.payload, b"namepayload");
        assert_eq!(answer.status, None);
        let status = client.call("name", "Other", Vec::new()).expect("an answer").status.expect("a status");
        assert_eq!((status.code, status.message.as_str()), (12, "no method Other"));
    }

    #[test]
    fn what_is_too_long_ends_the_connection() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0];
        assert!(read_frame(&mut bytes).is_err());
        let mut cut: &[u8] = &[0, 0, 0, 9, 0, 0, 0, 1, 1, 0, 1];
        assert!(read_frame(&mut cut).is_err());
    }
}

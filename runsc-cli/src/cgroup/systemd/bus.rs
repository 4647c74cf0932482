//! A connection to systemd: over the system's or a user's bus, or to its private socket where there is no bus.

use std::io::{self, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use super::SystemdError;
use super::wire::{self, FIXED, Message, Method, Property, Writer, call, length};

/// The longest time for all that is asked over one connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of the handshake, bytes.
const LONGEST_LINE: usize = 256;
/// Signals that are kept until it is known which one is waited for.
const KEPT_SIGNALS: usize = 256;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: Method<'_> = Method {
    destination: Some(SYSTEMD),
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
};
const BUS: Method<'_> = Method {
    destination: Some("org.freedesktop.DBus"),
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
};
const JOBS: &str = "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// Which systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The host's.
    System,
    /// The one of a user's session.
    User,
}

/// Where it listens, the first that answers.
fn addresses(owner: Owner) -> Vec<(String, Kind)> {
    let (variable, bus, private) = match owner {
        Owner::System => (
            "DBUS_SYSTEM_BUS_ADDRESS",
            "unix:path=/run/dbus/system_bus_socket".to_owned(),
            "unix:path=/run/systemd/private".to_owned(),
        ),
        Owner::User => {
            let given = std::env::var("XDG_RUNTIME_DIR").ok().filter(|dir| !dir.is_empty());
            let own = || format!("/run/user/{}", rustix::process::getuid().as_raw());
            let dir = given.unwrap_or_else(own);
            (
                "DBUS_SESSION_BUS_ADDRESS",
                format!("unix:path={dir}/bus"),
                format!("unix:path={dir}/systemd/private"),
            )
        }
    };
    let given = std::env::var(variable).ok().filter(|text| !text.is_empty());
    let buses = given.unwrap_or(bus);
    let buses = buses.split(';').map(|address| (address.to_owned(), Kind::Bus));
    buses.chain([(private, Kind::Private)]).collect()
}

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bus,
    /// systemd itself.
    Private,
}

/// The socket that an address of the D-Bus specification means; none for one that is not a Unix socket.
fn socket_address(address: &str) -> Option<SocketAddr> {
    let parameters = address.strip_prefix("unix:")?;
    parameters.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = unescaped(value)?;
        match name {
            "path" => SocketAddr::from_pathname(String::from_utf8(value).ok()?).ok(),
            "abstract" => SocketAddr::from_abstract_name(value).ok(),
            _ => None,
        }
    })
}

/// `%41` is `A`.
fn unescaped(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    kind: Kind,
    address: String,
    serial: u32,
    deadline: Instant,
    /// Whether the ends of jobs are told.
    watches: bool,
    /// Signals that came before the answer that was waited for.
    signals: Vec<Message>,
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "an answer that is no message of D-Bus")
}

impl Connection {
    /// Connects to systemd.
    pub fn new(owner: Owner) -> Result<Connection, SystemdError> {
        let mut first_error = None;
        for (address, kind) in addresses(owner) {
            match Connection::open(&address, kind) {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    first_error.get_or_insert(SystemdError::Bus { address, what: "connecting", error });
                }
            }
        }
        Err(first_error.unwrap_or(SystemdError::NotRunning))
    }

    fn open(address: &str, kind: Kind) -> io::Result<Connection> {
        let place = socket_address(address)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "not the address of a Unix socket"))?;
        let socket = UnixStream::connect_addr(&place)?;
        let mut connection = Connection {
            socket,
            kind,
            address: address.to_owned(),
            serial: 0,
            deadline: Instant::now() + PATIENCE,
            watches: false,
            signals: Vec::new(),
        };
        connection.authenticate()?;
        if kind == Kind::Bus {
            let hello = connection.answer(&Method { member: "Hello", ..BUS }, "", &Writer::default())?;
            if hello.kind != wire::METHOD_RETURN {
                return Err(io::Error::other("the bus refuses this process"));
            }
        }
        Ok(connection)
    }

    /// The host tells the other side who this is, from outside of a user namespace: so no id is given. All lines go at once,
    /// as systemd's own clients send them: what it reads together with the last of them, it sees only when more comes.
    fn authenticate(&mut self) -> io::Result<()> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        if self.line()? != "DATA" || !self.line()?.starts_with("OK") {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "the bus does not let this user in"));
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() > LONGEST_LINE {
                return Err(malformed());
            }
            // One at a time: what follows belongs to others.
            let mut byte = [0];
            self.receive(&mut byte)?;
            line.extend(byte);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|_| malformed())
    }

    fn time_left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(self.time_left()?))?;
            match self.socket.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => again(error)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            self.socket.set_read_timeout(Some(self.time_left()?))?;
            match self.socket.read(&mut bytes[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) => again(error)?,
            }
        }
        Ok(())
    }

    fn message(&mut self) -> io::Result<Message> {
        let mut bytes = vec![0; FIXED];
        self.receive(&mut bytes)?;
        let whole = bytes.first_chunk().and_then(length).ok_or_else(malformed)?;
        bytes.resize(whole, 0);
        self.receive(&mut bytes[FIXED..])?;
        Message::parse(&bytes).ok_or_else(malformed)
    }

    /// Calls, and waits for the answer.
    fn answer(&mut self, method: &Method<'_>, signature: &str, body: &Writer) -> io::Result<Message> {
        self.serial += 1;
        let destination = method.destination.filter(|_| self.kind == Kind::Bus);
        let method = Method { destination, ..*method };
        self.send(&call(self.serial, &method, signature, body))?;
        loop {
            let message = self.message()?;
            match message.kind {
                wire::METHOD_RETURN | wire::ERROR if message.reply_to == Some(self.serial) => {
                    return Ok(message);
                }
                wire::SIGNAL if self.signals.len() < KEPT_SIGNALS => self.signals.push(message),
                _ => {}
            }
        }
    }

    fn call(
        &mut self,
        method: &Method<'_>,
        signature: &str,
        body: &Writer,
        subject: &str,
    ) -> Result<Message, SystemdError> {
        let answer = self
            .answer(method, signature, body)
            .map_err(|error| self.failed(&format!("{} {subject}", method.member), error))?;
        if answer.kind == wire::ERROR {
            return Err(SystemdError::Refused {
                subject: subject.to_owned(),
                name: answer.error.clone().unwrap_or_default(),
                message: answer.text().unwrap_or_default().to_owned(),
            });
        }
        Ok(answer)
    }

    fn failed(&self, what: &str, error: io::Error) -> SystemdError {
        SystemdError::Asking { address: self.address.clone(), what: what.to_owned(), error }
    }

    /// Has the ends of jobs told. To be called before one is begun.
    fn watch_jobs(&mut self) -> Result<(), SystemdError> {
        // Without a bus they are told to all who are connected.
        if self.kind == Kind::Bus && !std::mem::replace(&mut self.watches, true) {
            let mut rule = Writer::default();
            rule.text(JOBS);
            self.call(&Method { member: "AddMatch", ..BUS }, "s", &rule, "JobRemoved")?;
            self.call(&Method { member: "Subscribe", ..MANAGER }, "", &Writer::default(), "jobs")?;
        }
        Ok(())
    }

    /// Waits for the end of the job that an answer names; what came of it.
    fn await_job(&mut self, answer: &Message, unit: &str) -> Result<String, SystemdError> {
        let Some(job) = answer.text() else { return Err(self.failed(unit, malformed())) };
        let mut kept = std::mem::take(&mut self.signals).into_iter();
        loop {
            let message = match kept.next() {
                Some(message) => message,
                None => self.message().map_err(|error| self.failed(&format!("waiting for {unit}"), error))?,
            };
            // Others on the bus can send what looks the same.
            if message.sender != answer.sender {
                continue;
            }
            if let Some((removed, result)) = message.job_removed()
                && removed == job
            {
                return Ok(result.to_owned());
            }
        }
    }

    /// Begins a unit that is there as long as it has processes; waits until it is. What came of it: `done`, or how it failed.
    pub fn start_transient_unit(
        &mut self,
        unit: &str,
        properties: &[Property],
    ) -> Result<String, SystemdError> {
        self.watch_jobs()?;
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        body.properties(properties);
        body.no_units();
        let method = Method { member: "StartTransientUnit", ..MANAGER };
        let answer = self.call(&method, "ssa(sv)a(sa(sv))", &body, unit)?;
        self.await_job(&answer, unit)
    }

    /// Ends a unit; waits until it has.
    pub fn stop_unit(&mut self, unit: &str) -> Result<String, SystemdError> {
        self.watch_jobs()?;
        let mut body = Writer::default();
        body.text(unit);
        body.text("replace");
        let answer = self.call(&Method { member: "StopUnit", ..MANAGER }, "ss", &body, unit)?;
        self.await_job(&answer, unit)
    }

    /// Has a unit that failed forgotten.
    pub fn reset_failed_unit(&mut self, unit: &str) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(unit);
        self.call(&Method { member: "ResetFailedUnit", ..MANAGER }, "s", &body, unit).map(drop)
    }

    /// Changes properties until the next start of the host.
    pub fn set_unit_properties(&mut self, unit: &str, properties: &[Property]) -> Result<(), SystemdError> {
        let mut body = Writer::default();
        body.text(unit);
        body.u32(1);
        body.properties(properties);
        self.call(&Method { member: "SetUnitProperties", ..MANAGER }, "sba(sv)", &body, unit).map(drop)
    }

    /// A property of systemd's own that is text.
    pub fn manager_property(&mut self, name: &str) -> Result<String, SystemdError> {
        let mut body = Writer::default();
        body.text(MANAGER.interface);
        body.text(name);
        let method = Method { interface: "org.freedesktop.DBus.Properties", member: "Get", ..MANAGER };
        let answer = self.call(&method, "ss", &body, name)?;
        answer.variant_text().map(str::to_owned).ok_or_else(|| self.failed(name, malformed()))
    }
}

/// Whether an error means no more than that a call is to be made again.
fn again(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::message;
    use super::*;

    #[test]
    fn addresses_of_sockets() {
        let path = |text| socket_address(text).and_then(|address| Some(address.as_pathname()?.to_owned()));
        assert_eq!(path("unix:path=/run/user/1000/bus").unwrap().to_str(), Some("/run/user/1000/bus"));
        assert_eq!(path("unix:guid=0,path=/a%2fb%20c").unwrap().to_str(), Some("/a/b c"));
        assert_eq!(socket_address("unix:abstract=x").unwrap().as_abstract_name(), Some(b"x".as_slice()));
        for wrong in ["", "unix:", "tcp:host=x", "unix:path=%", "unix:path=%zz", "unix:path"] {
            assert!(socket_address(wrong).is_none(), "{wrong}");
        }
    }

    /// A connection whose other end says these bytes, however it is asked, and hangs up.
    fn with_peer(bytes: Vec<u8>) -> (Connection, UnixStream) {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(&bytes).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let connection = Connection {
            socket,
            kind: Kind::Bus,
            address: "test".to_owned(),
            serial: 0,
            deadline: Instant::now() + PATIENCE,
            watches: false,
            signals: Vec::new(),
        };
        (connection, peer)
    }

    fn texts(texts: &[&str]) -> Writer {
        let mut body = Writer::default();
        texts.iter().for_each(|text| body.text(text));
        body
    }

    fn removed(job: &str, result: &str) -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(1);
        [job, "x.scope", result].iter().for_each(|text| body.text(text));
        message(wire::SIGNAL, 0, "uoss", &body)
    }

    #[test]
    fn a_job_is_waited_for_also_if_its_end_comes_first() {
        let empty = Writer::default();
        let answers = [
            message(wire::METHOD_RETURN, 1, "", &empty),
            message(wire::METHOD_RETURN, 2, "", &empty),
            removed("/job/2", "failed"),
            removed("/job/1", "done"),
            message(wire::METHOD_RETURN, 3, "o", &texts(&["/job/1"])),
        ];
        let (mut connection, _peer) = with_peer(answers.concat());
        assert_eq!(connection.start_transient_unit("x.scope", &[]).unwrap(), "done");
        assert!(connection.watches);
    }

    #[test]
    fn errors_are_told() {
        let refused = message(wire::ERROR, 1, "s", &texts(&["no such unit"]));
        let (mut connection, _peer) = with_peer(refused);
        let error = connection.reset_failed_unit("x.scope").unwrap_err();
        assert!(error.to_string().contains("no such unit"), "{error}");
        for bytes in [b"".to_vec(), vec![0xff; 100], vec![b'l', 2, 0, 1], vec![0; 16]] {
            let (mut connection, _peer) = with_peer(bytes);
            let error = connection.set_unit_properties("x.scope", &[]).unwrap_err();
            assert!(matches!(error, SystemdError::Asking { .. }), "{error}");
        }
    }

    #[test]
    fn who_does_not_let_this_user_in_is_left() {
        for (says, good) in [
            ("DATA\r\nOK 0123\r\n", true),
            ("DATA\r\nREJECTED EXTERNAL\r\n", false),
            ("REJECTED EXTERNAL\r\n", false),
            ("OK", false),
            ("", false),
        ] {
            let (mut connection, _peer) = with_peer(says.as_bytes().to_vec());
            assert_eq!(connection.authenticate().is_ok(), good, "{says:?}");
        }
        let (mut connection, _peer) = with_peer(vec![b'x'; 100_000]);
        assert!(connection.authenticate().is_err());
    }
}

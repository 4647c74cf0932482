//! Messages of D-Bus as bytes: the few shapes that systemd is asked with, and what is read of its answers.
//!
//! Source: the D-Bus specification, "Message Protocol". All is little-endian, which is what a peer on the same x86-64 machine
//! writes. Whatever is read is checked: a peer can make an answer useless, and no more than that.

/// The longest message that is read, in bytes. An answer here has a few hundred.
pub const LONGEST: usize = 1 << 20;
/// The part of a message of which its length can be told, in bytes.
pub const FIXED: usize = 16;
/// The longest text of a name or path, bytes (the specification's limit on names is 255).
const LONGEST_TEXT: usize = 1 << 16;

/// Types of messages.
pub const METHOD_CALL: u8 = 1;
/// A reply with results.
pub const METHOD_RETURN: u8 = 2;
/// A reply that tells an error.
pub const ERROR: u8 = 3;
/// A signal.
pub const SIGNAL: u8 = 4;

/// Header fields.
mod field {
    pub const PATH: u8 = 1;
    pub const INTERFACE: u8 = 2;
    pub const MEMBER: u8 = 3;
    pub const ERROR_NAME: u8 = 4;
    pub const REPLY_SERIAL: u8 = 5;
    pub const DESTINATION: u8 = 6;
    pub const SENDER: u8 = 7;
    pub const SIGNATURE: u8 = 8;
}

/// A value that a variant holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `a` and the type of its elements, which are all of that.
    Array(&'static str, Vec<Value>),
}

impl Value {
    /// Its type, as a signature.
    pub fn signature(&self) -> String {
        match self {
            Value::Array(element, _) => format!("a{element}"),
            other => other.letter().to_owned(),
        }
    }

    /// The signature of a value that is no array.
    pub fn letter(&self) -> &'static str {
        match self {
            Value::Bool(_) => "b",
            Value::Byte(_) => "y",
            Value::I16(_) => "n",
            Value::U16(_) => "q",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::F64(_) => "d",
            Value::Text(_) => "s",
            Value::Array(..) => "a",
        }
    }
}

/// Text as a value.
pub fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// A property of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name in systemd.
    pub name: String,
    /// What it is to be.
    pub value: Value,
}

impl Property {
    /// A property with this value.
    pub fn new(name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value }
    }
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    /// The name on the bus; none on a connection that has no bus.
    pub destination: Option<&'a str>,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
}

/// Bytes that grow.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    /// `u`
    pub fn u32(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    /// `s`, and `o`.
    pub fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    /// `g`
    fn signature(&mut self, signature: &str) {
        self.bytes.push(signature.len() as u8);
        self.bytes.extend(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements begin at multiples of `to`; its length, in bytes, does not count what comes before the first.
    fn array(&mut self, to: usize, elements: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(to);
        let start = self.bytes.len();
        elements(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.u32((*value).into()),
            Value::Byte(value) => self.bytes.push(*value),
            Value::I16(value) => self.put(value.to_le_bytes()),
            Value::U16(value) => self.put(value.to_le_bytes()),
            Value::I32(value) => self.put(value.to_le_bytes()),
            Value::U32(value) => self.put(value.to_le_bytes()),
            Value::I64(value) => self.put(value.to_le_bytes()),
            Value::U64(value) => self.put(value.to_le_bytes()),
            Value::F64(value) => self.put(value.to_le_bytes()),
            Value::Text(value) => self.text(value),
            Value::Array(element, values) => {
                let to = match *element {
                    "y" => 1,
                    "n" | "q" => 2,
                    "x" | "t" | "d" => 8,
                    _ => 4,
                };
                self.array(to, |writer| values.iter().for_each(|value| writer.value(value)));
            }
        }
    }

    /// `v`
    fn variant(&mut self, value: &Value) {
        self.signature(&value.signature());
        self.value(value);
    }

    /// `a(sv)`
    pub fn properties(&mut self, properties: &[Property]) {
        self.array(8, |writer| {
            for property in properties {
                writer.align(8);
                writer.text(&property.name);
                writer.variant(&property.value);
            }
        });
    }

    /// `a(sa(sv))` without an element.
    pub fn no_units(&mut self) {
        self.array(8, |_| {});
    }
}

/// A call as bytes. The body's values have the types of `signature`.
pub fn call(serial: u32, method: &Method<'_>, signature: &str, body: &Writer) -> Vec<u8> {
    let mut message = Writer { bytes: vec![b'l', METHOD_CALL, 0, 1] };
    message.u32(body.bytes.len() as u32);
    message.u32(serial);
    message.array(8, |writer| {
        let texts = [
            (field::PATH, "o", Some(method.path)),
            (field::INTERFACE, "s", Some(method.interface)),
            (field::MEMBER, "s", Some(method.member)),
            (field::DESTINATION, "s", method.destination),
        ];
        for (field, kind, text) in texts {
            let Some(text) = text else { continue };
            writer.align(8);
            writer.bytes.push(field);
            writer.signature(kind);
            writer.text(text);
        }
        if !signature.is_empty() {
            writer.align(8);
            writer.bytes.push(field::SIGNATURE);
            writer.signature("g");
            writer.signature(signature);
        }
    });
    message.align(8);
    message.bytes.extend(&body.bytes);
    message.bytes
}

/// The length of a whole message, by its first [`FIXED`] bytes; none for what is no message, or too long.
pub fn length(fixed: &[u8; FIXED]) -> Option<usize> {
    let mut reader = Reader::new(fixed);
    let (order, _kind, _flags, version) = (reader.byte()?, reader.byte()?, reader.byte()?, reader.byte()?);
    let (body, _serial, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    if order != b'l' || version != 1 || body > LONGEST || fields > LONGEST {
        return None;
    }
    Some(FIXED + fields.next_multiple_of(8) + body).filter(|length| *length <= LONGEST)
}

/// A message that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What it is, [`SIGNAL`] for example.
    pub kind: u8,
    /// The call that it answers.
    pub reply_to: Option<u32>,
    /// The connection that it comes from, as the bus says.
    pub sender: Option<String>,
    /// The method or signal.
    pub member: Option<String>,
    /// The error.
    pub error: Option<String>,
    /// The types of the body.
    pub signature: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// Takes a whole message apart; none for what is no message.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let mut reader = Reader::new(bytes);
        if length(bytes.first_chunk::<FIXED>()?)? != bytes.len() {
            return None;
        }
        let mut message = Message { kind: bytes[1], ..Message::default() };
        reader.at = 4;
        let body = reader.u32()? as usize;
        let _serial = reader.u32()?;
        let end = reader.u32()? as usize + FIXED;
        while reader.at < end {
            reader.align(8)?;
            let field = reader.byte()?;
            let kind = reader.signature()?;
            match (field, kind) {
                (field::SENDER, "s") => message.sender = Some(reader.text()?.to_owned()),
                (field::MEMBER, "s") => message.member = Some(reader.text()?.to_owned()),
                (field::ERROR_NAME, "s") => message.error = Some(reader.text()?.to_owned()),
                (field::SIGNATURE, "g") => message.signature = reader.signature()?.to_owned(),
                (field::REPLY_SERIAL, "u") => message.reply_to = Some(reader.u32()?),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => return None,
            }
        }
        message.body = bytes.get(bytes.len() - body..)?.to_vec();
        (reader.at == end).then_some(message)
    }

    /// The text that the body begins with: the path of a job, what an error says.
    pub fn text(&self) -> Option<&str> {
        let begins = self.signature.starts_with(['s', 'o']);
        begins.then(|| Reader::new(&self.body).text())?
    }

    /// The text in the variant that is the body.
    pub fn variant_text(&self) -> Option<&str> {
        let mut reader = Reader::new(&self.body);
        (self.signature == "v" && reader.signature()? == "s").then(|| reader.text())?
    }

    /// The body of the signal JobRemoved, `uoss`: the job, and what came of it.
    pub fn job_removed(&self) -> Option<(&str, &str)> {
        if self.kind != SIGNAL || self.member.as_deref() != Some("JobRemoved") || self.signature != "uoss" {
            return None;
        }
        let mut reader = Reader::new(&self.body);
        let (_number, job, _unit, result) = (reader.u32()?, reader.text()?, reader.text()?, reader.text()?);
        Some((job, result))
    }
}

/// Bytes that are read, none of them trusted.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let skipped = self.at.checked_next_multiple_of(to)? - self.at;
        self.take(skipped).map(drop)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?.into();
        self.ended(length)
    }

    /// Text of this length with a null byte behind it, and none in it.
    fn ended(&mut self, length: usize) -> Option<&'a str> {
        let bytes = self.take(length)?;
        let good = length <= LONGEST_TEXT && self.byte()? == 0 && !bytes.contains(&0);
        good.then(|| std::str::from_utf8(bytes).ok())?
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const METHOD: Method<'_> =
        Method { destination: Some("a.b"), path: "/o", interface: "i.f", member: "Do" };

    /// A message of this kind, as a peer would send it.
    pub fn message(kind: u8, reply_to: u32, signature: &str, body: &Writer) -> Vec<u8> {
        let mut message = Writer { bytes: vec![b'l', kind, 0, 1] };
        message.u32(body.bytes.len() as u32);
        message.u32(7);
        message.array(8, |writer| {
            for (field, kind) in [(field::MEMBER, "JobRemoved"), (field::SENDER, ":1.2")] {
                writer.align(8);
                writer.bytes.push(field);
                writer.signature("s");
                writer.text(kind);
            }
            writer.align(8);
            writer.bytes.push(field::REPLY_SERIAL);
            writer.signature("u");
            writer.u32(reply_to);
            writer.align(8);
            writer.bytes.push(field::SIGNATURE);
            writer.signature("g");
            writer.signature(signature);
        });
        message.align(8);
        message.bytes.extend(&body.bytes);
        message.bytes
    }

    fn job_removed() -> Vec<u8> {
        let mut body = Writer::default();
        body.u32(9);
        ["/job/9", "x.scope", "done"].iter().for_each(|text| body.text(text));
        message(SIGNAL, 3, "uoss", &body)
    }

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let mut body = Writer::default();
        body.text("x");
        body.properties(&[Property::new("P", Value::U32(5))]);
        let expected = [
            *b"\x01\0\0\0x\0\0\0",
            // The array's length in bytes; its elements begin at multiples of eight.
            *b"\x10\0\0\0\0\0\0\0",
            *b"\x01\0\0\0P\0\x01u",
            *b"\0\0\0\0\x05\0\0\0",
        ];
        assert_eq!(body.bytes, expected.concat());
        let bytes = call(1, &METHOD, "sa(sv)", &body);
        assert_eq!(length(bytes.first_chunk().unwrap()), Some(bytes.len()));
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.kind, message.member.as_deref()), (METHOD_CALL, Some("Do")));
        assert_eq!((message.signature.as_str(), message.text()), ("sa(sv)", Some("x")));
        assert_eq!(message.body, body.bytes);
    }

    #[test]
    fn what_came_in_is_read() {
        let bytes = job_removed();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.job_removed(), Some(("/job/9", "done")));
        assert_eq!((message.reply_to, message.sender.as_deref()), (Some(3), Some(":1.2")));
        assert_eq!((message.text(), message.variant_text()), (None, None));
        let mut body = Writer::default();
        body.variant(&text("v252"));
        let message = Message::parse(&super::tests::message(METHOD_RETURN, 1, "v", &body)).unwrap();
        assert_eq!(message.variant_text(), Some("v252"));
        body = Writer::default();
        body.variant(&Value::U64(1));
        let message = Message::parse(&super::tests::message(METHOD_RETURN, 1, "v", &body)).unwrap();
        assert_eq!(message.variant_text(), None);
    }

    #[test]
    fn no_answer_of_a_hostile_peer_is_more_than_useless() {
        let good = job_removed();
        let read = |bytes: &[u8]| {
            if let Some(first) = bytes.first_chunk::<FIXED>() {
                let _ = length(first);
            }
            if let Some(message) = Message::parse(bytes) {
                let _ = (message.text(), message.variant_text(), message.job_removed());
            }
        };
        for end in 0..good.len() {
            assert_eq!(Message::parse(&good[..end]), None);
            read(&good[..end]);
        }
        // Each byte as each other, and each pair of bytes at the extremes.
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = value;
                read(&bytes);
                for (next, extreme) in [(at + 1, 0xff), (at + 1, 0), (at + 3, 0xff), (at + 3, 0x7f)] {
                    if let Some(byte) = bytes.get_mut(next) {
                        *byte = extreme;
                        read(&bytes);
                    }
                }
            }
        }
        // Random bytes behind a good beginning, from a fixed seed.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let at = state as usize % bytes.len();
                bytes[at] = (state >> 32) as u8;
            }
            read(&bytes);
        }
    }

    #[test]
    fn lengths_have_a_bound() {
        let mut fixed = *job_removed().first_chunk::<FIXED>().unwrap();
        fixed[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&fixed), None);
        fixed[4..8].copy_from_slice(&(LONGEST as u32).to_le_bytes());
        assert_eq!(length(&fixed), None);
        fixed[0] = b'B';
        assert_eq!(length(&fixed), None);
    }
}

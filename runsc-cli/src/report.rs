//! Errors and warnings for whoever called, in the file and the form that engines ask for with `--log` and `--log-format`.
//!
//! The JSON form is that of runc, one object a line: engines look for the last one of level `error` and show its `msg`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::container::clock;

/// Forms of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// An object.
    Json,
}

/// The file, once it is known.
static LOG: OnceLock<(File, Format)> = OnceLock::new();

/// Opens the file that lines go to; without a call they go nowhere but to standard error.
pub fn open(path: &Path, format: Format) -> io::Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
    // A second call changes nothing.
    let _ = LOG.set((file, format));
    Ok(())
}

/// Something that went wrong and ends the command.
pub fn error(text: &str) {
    write("error", text);
}

/// Something that is not as it was asked for, but does no harm.
pub fn warn(text: &str) {
    write("warning", text);
    tracing::warn!("{text}");
}

fn write(level: &str, text: &str) {
    let Some((file, format)) = LOG.get() else { return };
    // One write: several commands share the file. An error: there is nobody left to tell.
    let _ = (&*file).write_all(line(*format, level, text, &clock::now()).as_bytes());
}

fn line(format: Format, level: &str, text: &str, time: &str) -> String {
    match format {
        Format::Json => format!("{}\n", serde_json::json!({"level": level, "msg": text, "time": time})),
        Format::Text => format!("time={time:?} level={level} msg={text:?}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let json = line(Format::Json, "error", "a \"b\"", "T");
        assert_eq!(json, "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\",\"time\":\"T\"}\n");
        assert_eq!(line(Format::Text, "error", "a b", "T"), "time=\"T\" level=error msg=\"a b\"\n");
    }
}

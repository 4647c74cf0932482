//! Errors and warnings for whoever called, in the file and the form that engines ask for with `--log` and `--log-format`.
//!
//! The JSON form is that of runc, one object a line: engines look for the last one of level `error` and show its `msg`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Whether it is standard error.
static STDERR: AtomicBool = AtomicBool::new(false);

/// The file, once it is known.
static LOG: OnceLock<(File, Format)> = OnceLock::new();

/// Opens the file that lines go to. Without one, those in JSON go to standard error; in text, a person is told there.
pub fn begin(path: Option<&Path>, format: Format) -> io::Result<()> {
    let file = match path {
        Some(path) if !is_stderr(path) => {
            OpenOptions::new().append(true).create(true).mode(0o644).open(path).map_err(|error| {
                io::Error::other(format!("{}: {error}; name a file that can be written", path.display()))
            })?
        }
        None if format == Format::Text => return Ok(()),
        _ => {
            STDERR.store(true, Ordering::Relaxed);
            rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?.into()
        }
    };
    // A second call changes nothing.
    let _ = LOG.set((file, format));
    Ok(())
}

/// Whether the lines go to standard error, which is then told nothing else.
pub fn is_standard_error() -> bool {
    STDERR.load(Ordering::Relaxed)
}

fn is_stderr(path: &Path) -> bool {
    ["/dev/stderr", "/proc/self/fd/2", "/dev/fd/2"].iter().any(|name| path == Path::new(name))
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

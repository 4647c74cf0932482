//! `runsc kill`: a signal for a container.

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::{anyhow, bail};

use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask};
use crate::sandbox::control::{Request, Whom};

/// Options of `kill`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc kill web TERM")]
pub struct Args {
    /// To all processes of the container
    #[arg(long, short = 'a')]
    all: bool,
    /// To the process with this number in the container
    #[arg(long, value_name = "PID", conflicts_with = "all")]
    pid: Option<i32>,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// The signal, by name or number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM", allow_hyphen_values = true)]
    signal: String,
}

/// Sends it.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let signal = number(&args.signal)?;
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    let whom = match args.pid {
        Some(pid) => Whom::Pid(pid),
        None if args.all => Whom::All,
        None => Whom::Init,
    };
    match status(&store, &saved) {
        // As with runc, what is left of one that has stopped may be killed.
        Status::Stopped if args.all => return Ok(ExitCode::SUCCESS),
        Status::Stopped => return Err(ContainerError::NotRunning.into()),
        Status::Creating => bail!("container is being created; wait for that"),
        _ => {}
    }
    // Only whether there is somebody to signal, which is known now.
    if signal == 0 && args.pid.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let request = Request::Signal { container: args.id.clone(), signal, to: whom };
    match ask::ask(&store.dir(&saved.sandbox)?, &request) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        // The sandbox ended with its container before it could answer.
        Err(ContainerError::Silent(error))
            if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) =>
        {
            Ok(ExitCode::SUCCESS)
        }
        // It has ended between the two questions.
        Err(ContainerError::Silent(_)) => Err(ContainerError::NotRunning.into()),
        Err(error) => Err(error.into()),
    }
}

/// A signal's number, from `9`, `KILL` or `SIGKILL`; 0 asks whether one could be sent.
fn number(text: &str) -> anyhow::Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) {
            Ok(number)
        } else {
            Err(anyhow!("unknown signal {text:?}; see kill -l"))
        };
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(above) = name.strip_prefix("RTMIN") {
        let above: i32 = if above.is_empty() {
            0
        } else {
            above
                .trim_start_matches('+')
                .parse()
                .map_err(|_| anyhow!("unknown signal {text:?}; see kill -l"))?
        };
        return Ok(34 + above);
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|&(_, number)| number)
        .ok_or_else(|| anyhow!("unknown signal {text:?}; see kill -l"))
}

const NAMES: [(&str, i32); 33] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, expected) in [
            ("9", 9),
            ("0", 0),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("RTMIN+2", 36),
            ("SIGRTMIN", 34),
        ] {
            assert_eq!(number(text).unwrap(), expected, "{text}");
        }
        for wrong in ["-9", "65", "NOPE", "", "SIG"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}

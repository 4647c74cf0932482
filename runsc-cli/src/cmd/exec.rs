//! `runsc exec`: one more process in a container.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use crate::container::descriptors::{self, DescriptorError, Descriptors};
use crate::container::{Settings, exec, relay};
use crate::sandbox::control::SubCgroup;

/// Options of `exec`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "runsc exec [OPTIONS] ID PROGRAM [ARGS]...\n       runsc exec [OPTIONS] --process FILE ID",
    after_help = "\
Exit status:
  that of the process, 128 + N when signal N killed it; 255 when it could not be started

Example:
  runsc exec --user 1000 web sh -c 'id'"
)]
pub struct Args {
    /// Unix socket that the master of the terminal is sent to
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set an environment variable (may be repeated)
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give the process a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// User and group, by number or by name in the container
    #[arg(long, short = 'u', value_name = "UID[:GID]|NAME", allow_hyphen_values = true)]
    user: Option<String>,
    /// More groups, by number (may be repeated, or separated by commas)
    #[arg(long, short = 'g', value_name = "GID", value_delimiter = ',')]
    additional_gids: Vec<u32>,
    /// File with the specification of the process
    #[arg(long, short = 'p', value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return when the process runs
    #[arg(long, short = 'd')]
    detach: bool,
    /// File that the pid of the process is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Accepted and without effect: the host's label says nothing in a sandbox
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Accepted and without effect: the host's profile says nothing in a sandbox
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// The process can't gain rights by executing files
    #[arg(long)]
    no_new_privs: bool,
    /// Add a capability (may be repeated, or separated by commas)
    #[arg(long, short = 'c', value_name = "CAP", value_delimiter = ',')]
    cap: Vec<String>,
    /// Descriptors from 3 on that the process gets as its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Cgroup for the process, of those that the container has made in its own; in version 1 with its controllers before it
    /// (may be repeated then)
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    cgroup: Vec<String>,
    /// Also in a paused container: the process begins when that is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// The container, the program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "ID")]
    command: Vec<String>,
}

impl Args {
    /// Takes the descriptors that the command was started with.
    pub fn descriptors(&self) -> Result<Descriptors, DescriptorError> {
        descriptors::take(self.preserve_fds, 0)
    }
}

/// Starts it, and unless detached, stays.
pub fn run(settings: &Settings, args: Args, descriptors: Descriptors) -> anyhow::Result<ExitCode> {
    let cgroups = cgroups(&args.cgroup)?;
    let mut command = args.command.into_iter();
    let wanted = exec::Wanted {
        id: command.next().unwrap_or_default(),
        process: args.process,
        args: command.collect(),
        cwd: args.cwd,
        env: args.env,
        user: args.user,
        groups: args.additional_gids,
        capabilities: args.cap,
        no_new_privileges: args.no_new_privs,
        terminal: args.tty,
        pid_file: args.pid_file,
        console_socket: args.console_socket,
        attached: !args.detach,
        ignore_paused: args.ignore_paused,
        cgroups,
        descriptors,
    };
    if wanted.attached {
        relay::hold_signals()?;
    }
    let (monitor, master) = exec::exec(settings, wanted)?;
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(relay::attend(&monitor, master)? as u8))
}

/// What `--cgroup` says, as runc takes it: one path for all hierarchies, or paths for controllers.
fn cgroups(given: &[String]) -> anyhow::Result<Vec<SubCgroup>> {
    let mut all: Vec<SubCgroup> = Vec::new();
    for text in given {
        match text.split(':').collect::<Vec<_>>()[..] {
            [path] if given.len() == 1 => {
                all.push(SubCgroup { controller: None, path: path.to_owned() });
            }
            [_] => bail!("invalid --cgroup argument: {text} (missing <controller>: prefix); write it"),
            [controllers, path] => {
                for controller in controllers.split(',') {
                    if all.iter().any(|other| other.controller.as_deref() == Some(controller)) {
                        bail!(
                            "invalid --cgroup argument(s): controller {controller} specified multiple times; leave one out"
                        );
                    }
                    all.push(SubCgroup { controller: Some(controller.to_owned()), path: path.to_owned() });
                }
            }
            _ => bail!("invalid --cgroup argument: {text}; write it like cpu,pids:below"),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_with_and_without_controllers() {
        let parse = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            cgroups(&given).map(|all| all.into_iter().map(|it| (it.controller, it.path)).collect::<Vec<_>>())
        };
        let of = |controller: &str, path: &str| (Some(controller.to_owned()), path.to_owned());
        assert_eq!(parse(&[]).unwrap(), []);
        assert_eq!(parse(&["a/b"]).unwrap(), [(None, "a/b".to_owned())]);
        assert_eq!(
            parse(&["cpu,pids:a", "memory:b"]).unwrap(),
            [of("cpu", "a"), of("pids", "a"), of("memory", "b")]
        );
        for wrong in [&["a", "b"][..], &["cpu:a", "b"], &["cpu:a", "cpu:b"], &["a:b:c"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}

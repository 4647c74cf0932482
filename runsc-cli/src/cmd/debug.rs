//! `runsc debug`: what a sandbox is doing at this moment, for whoever looks into a problem.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::container::{Settings, store::Store};
use crate::sandbox::control::ProcessInfo;

/// Options of `debug`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc debug --ps web")]
pub struct Args {
    /// Print the threads of Sentry, Gofer and monitor, and where in the host they wait
    #[arg(long)]
    stacks: bool,
    /// Print the tree of processes in the container
    #[arg(long)]
    ps: bool,
    /// Print the open files of those
    #[arg(long)]
    files: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Prints what is asked for; everything without a flag.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    let all = !args.stacks && !args.ps && !args.files;
    let mut text = String::new();
    if args.stacks || all {
        for process in saved.monitor.iter().chain(&saved.helpers) {
            stacks(process.pid, &mut text)?;
        }
    }
    if args.ps || args.files || all {
        let processes = super::ps::processes(&store, &args.id)?;
        if args.ps || all {
            tree(&processes, 0, 0, &mut text)?;
        }
        for process in processes.iter().filter(|_| args.files || all) {
            writeln!(text, "files of {}:", process.pid)?;
            for (fd, path) in &process.files {
                writeln!(text, "  {fd} {}", path.display())?;
            }
        }
    }
    super::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The threads of a host process.
fn stacks(pid: i32, text: &mut String) -> anyhow::Result<()> {
    let dir = Path::new("/proc").join(pid.to_string());
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let line = read(&dir.join("cmdline")).replace('\0', " ");
    writeln!(text, "host process {pid}: {}", line.trim_end())?;
    let mut threads: Vec<_> = std::fs::read_dir(dir.join("task")).into_iter().flatten().flatten().collect();
    threads.sort_by_key(std::fs::DirEntry::file_name);
    for thread in threads {
        let path = thread.path();
        let name = read(&path.join("comm"));
        let call = read(&path.join("syscall"));
        let place = read(&path.join("wchan"));
        let number = call.split(' ').next().and_then(|number| number.parse::<u32>().ok());
        let row = number.and_then(|number| syscalls::table::table().iter().find(|row| row.number == number));
        let call = row.map_or_else(|| call.trim().to_owned(), |row| row.name.to_owned());
        writeln!(text, "  {} {}: {call} {place}", thread.file_name().display(), name.trim_end())?;
        for frame in read(&path.join("stack")).lines() {
            writeln!(text, "    {frame}")?;
        }
    }
    Ok(())
}

/// Children below their parent.
fn tree(processes: &[ProcessInfo], parent: i32, depth: usize, text: &mut String) -> anyhow::Result<()> {
    for process in processes.iter().filter(|process| process.ppid == parent && process.pid != parent) {
        let args: Vec<_> = process.args.iter().map(|arg| arg.display()).collect();
        writeln!(
            text,
            "{:indent$}{} {} ({} KiB)",
            "",
            process.pid,
            args.join(" "),
            process.rss / 1024,
            indent = 2 * depth
        )?;
        for thread in &process.threads {
            writeln!(
                text,
                "{:indent$}  {} {} {}",
                "",
                thread.tid,
                thread.state,
                thread.name.display(),
                indent = 2 * depth
            )?;
        }
        tree(processes, process.pid, depth + 1, text)?;
    }
    Ok(())
}

//! A person at a terminal.

use anyhow::{Result, ensure};

use super::ForClient;
use crate::client::Client;
use crate::pty::Session;

pub const CASES: &[ForClient] = &[
    ("terminal", terminal),
    ("terminal_job_control", terminal_job_control),
    ("terminal_exec", terminal_exec),
];

fn terminal(client: &Client) -> Result<()> {
    let command = client.command(&client.arguments("run", &["--rm", "-it"], &["sh"]));
    let mut session = Session::start(&command, 33, 77)?;
    session.expect("# ")?;
    session.send("tty && echo a$((1+1))b\n")?;
    session.expect("/dev/")?;
    session.expect("a2b")?;
    // The engine tells the size after the start.
    session.send("while [ \"$(stty size)\" != '33 77' ]; do sleep 0.1; done; echo siz''ed\n")?;
    session.expect("sized")?;
    session.resize(40, 100)?;
    session.send("while [ \"$(stty size)\" != '40 100' ]; do sleep 0.1; done; echo resiz''ed\n")?;
    session.expect("resized")?;
    session.send("exit 6\n")?;
    let status = session.end()?;
    ensure!(status == 6, "status {status}");
    Ok(())
}

fn terminal_job_control(client: &Client) -> Result<()> {
    let command = client.command(&client.arguments("run", &["--rm", "-it"], &["sh"]));
    let mut session = Session::start(&command, 24, 80)?;
    session.expect("# ")?;
    // Ctrl-C ends what is in the foreground, not the shell. It says so itself: before that, the shell might get the signal.
    session.send("sh -c \"echo go''es; exec sleep 1000\"\n")?;
    session.expect("goes")?;
    session.send("\x03")?;
    session.expect("# ")?;
    session.send("echo status $?\n")?;
    session.expect("status 130")?;
    // Ctrl-Z stops it; it can be continued in the background and brought back.
    session.send("sh -c \"echo go''es; exec sleep 1000\"\n")?;
    session.expect("goes")?;
    session.send("\x1a")?;
    session.expect("Stopped")?;
    session.send("bg; jobs\n")?;
    session.expect("Running")?;
    session.expect("# ")?;
    session.send("fg\n")?;
    session.expect("sleep 1000")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    session.send("\x03")?;
    session.expect("# ")?;
    // The end of the input ends the shell.
    session.send("\x04")?;
    let status = session.end()?;
    ensure!(status == 130, "status {status}");
    Ok(())
}

fn terminal_exec(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sleep", "1000"])?;
    let command = client.command(&["exec", "-it", &container.name, "sh"]);
    let mut session = Session::start(&command, 30, 90)?;
    session.expect("# ")?;
    session.send("while [ \"$(stty size)\" != '30 90' ]; do sleep 0.1; done; echo siz''ed\n")?;
    session.expect("sized")?;
    session.send("exit 4\n")?;
    let status = session.end()?;
    ensure!(status == 4, "status {status}");
    Ok(())
}

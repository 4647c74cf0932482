//! Exit statuses, streams and logs.

use anyhow::{Result, ensure};

use super::ForClient;
use crate::client::Client;
use crate::command::eventually;

pub const CASES: &[ForClient] = &[
    ("run_attached", run_attached),
    ("run_with_input", run_with_input),
    ("run_what_is_not_there", run_what_is_not_there),
    ("environment", environment),
    ("detached_with_logs", detached_with_logs),
    ("exec", exec),
    ("exec_detached", exec_detached),
    ("exec_with_input", exec_with_input),
];

fn run_attached(client: &Client) -> Result<()> {
    let out = client.shell(&[], "echo out; echo err >&2; exit 7")?.status(7)?;
    ensure!(out.stdout == "out\n" && out.stderr == "err\n", "{out}");
    // By a signal.
    client.shell(&[], "(sleep 0.1; kill -9 $$) & wait; sh -c 'kill -9 $$'; exit $?")?.status(137)?;
    Ok(())
}

fn run_with_input(client: &Client) -> Result<()> {
    let text = "a line\n".repeat(10_000);
    let out = client.call_with(&client.arguments("run", &["--rm", "-i"], &["cat"]), &text)?.status(0)?;
    ensure!(out.stdout == text, "{} of {} bytes came back: {}", out.stdout.len(), text.len(), out.stderr);
    Ok(())
}

fn run_what_is_not_there(client: &Client) -> Result<()> {
    client.run(&[], &["/no/such/program"])?.status(127)?;
    client.run(&[], &["/etc/not-a-program"])?.status(126)?;
    Ok(())
}

fn environment(client: &Client) -> Result<()> {
    let flags = ["--env", "WORD=a word", "--workdir", "/home/user", "--hostname", "somewhere"];
    client
        .shell(&flags, "echo $WORD; pwd; hostname; echo $PATH; echo $HOME; echo $$")?
        .status(0)?
        .prints("a word\n/home/user\nsomewhere\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/root\n1")?;
    client.run(&["--entrypoint", "/bin/echo"], &["given"])?.status(0)?.prints("given")?;
    Ok(())
}

fn detached_with_logs(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sh", "-c", "echo first; echo second >&2; exec sleep 1000"])?;
    container.wait_for_log("first")?;
    eventually("the second line", || Ok(container.logs()?.stderr.contains("second")))?;
    ensure!(container.inspect(".State.Status")? == "running");
    let list = client.call(&["ps", "--format", "{{.Names}}"])?.text()?;
    ensure!(list.lines().any(|name| name == container.name), "not listed: {list}");
    container.remove()?.status(0)?;
    ensure!(container.call("inspect", &[], &[])?.status != 0, "it is still known");
    client.call(&client.arguments("create", &["--name", &container.name], &["true"]))?.status(0)?;
    Ok(())
}

fn exec(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sleep", "1000"])?;
    let out = container.shell("echo out; echo err >&2; exit 9")?.status(9)?;
    ensure!(out.stdout == "out\n" && out.stderr == "err\n", "{out}");
    let flags = ["--env", "WORD=here", "--workdir", "/tmp", "--user", "1000:2000"];
    container
        .exec(&flags, &["sh", "-c", "echo $WORD; pwd; id -u; id -g"])?
        .prints("here\n/tmp\n1000\n2000")?;
    // It sees the container's processes and files.
    container.shell("ps | grep -q 'sleep 1000' && touch /made")?.status(0)?;
    container.shell("test -f /made")?.status(0)?;
    ensure!(container.exec(&[], &["/no/such/program"])?.status != 0, "it ran what is not there");
    Ok(())
}

fn exec_detached(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sleep", "1000"])?;
    container.exec(&["-d"], &["sh", "-c", "echo done > /tmp/mark; exec sleep 500"])?.status(0)?;
    eventually("the mark", || Ok(container.shell("cat /tmp/mark")?.stdout == "done\n"))?;
    container.shell("ps | grep -q 'sleep 500'")?.status(0)?;
    Ok(())
}

fn exec_with_input(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sleep", "1000"])?;
    let text = "some text\n".repeat(1000);
    let out = client.call_with(&["exec", "-i", &container.name, "wc", "-l"], &text)?;
    out.status(0)?.prints("1000")?;
    Ok(())
}

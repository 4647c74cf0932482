//! Users, groups, capabilities.

use anyhow::{Context, Result, ensure};

use super::ForClient;
use crate::client::Client;

pub const CASES: &[ForClient] =
    &[("user", user), ("capabilities", capabilities), ("no_new_privileges", no_new_privileges)];

fn user(client: &Client) -> Result<()> {
    client.shell(&["--user", "1000:1000"], "id -u; id -g")?.status(0)?.prints("1000\n1000")?;
    client.shell(&["--user", "user"], "id -u; id -G")?.status(0)?.prints("1000\n1000 2000")?;
    client.shell(&["--user", "1000", "--group-add", "2000"], "id -G")?.status(0)?.prints("1000 2000")?;
    let out = client.shell(&["--user", "1000"], "touch /etc/made")?.status(1)?;
    ensure!(out.stderr.contains("Permission denied"), "{out}");
    Ok(())
}

/// The effective capabilities of a container's program.
fn effective(client: &Client, flags: &[&str]) -> Result<u64> {
    let text = client.run(flags, &["grep", "^CapEff", "/proc/self/status"])?.text()?;
    let digits = text.split_whitespace().nth(1).context("no second word")?;
    u64::from_str_radix(digits, 16).with_context(|| format!("{text:?} is no set of capabilities"))
}

fn capabilities(client: &Client) -> Result<()> {
    const CAP_CHOWN: u64 = 1 << 0;
    const CAP_KILL: u64 = 1 << 5;
    const CAP_SYS_PTRACE: u64 = 1 << 19;
    let usual = effective(client, &[])?;
    ensure!(usual & CAP_CHOWN != 0 && usual & CAP_SYS_PTRACE == 0, "{usual:x} is unusual");
    ensure!(effective(client, &["--cap-drop", "ALL"])? == 0);
    ensure!(effective(client, &["--cap-drop", "ALL", "--cap-add", "KILL"])? == CAP_KILL);
    ensure!(effective(client, &["--cap-add", "SYS_PTRACE"])? == usual | CAP_SYS_PTRACE);
    ensure!(effective(client, &["--user", "1000"])? == 0);
    let out = client.shell(&["--cap-drop", "CHOWN"], "touch /tmp/f; chown 7 /tmp/f")?;
    ensure!(out.status != 0, "{out}");
    Ok(())
}

fn no_new_privileges(client: &Client) -> Result<()> {
    let flags = ["--security-opt", "no-new-privileges"];
    let text = client.run(&flags, &["grep", "^NoNewPrivs", "/proc/self/status"])?.text()?;
    ensure!(text.ends_with('1'), "{text}");
    Ok(())
}

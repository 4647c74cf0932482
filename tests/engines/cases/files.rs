//! Volumes, temporary and read-only file systems, copies in and out.

use std::fs;

use anyhow::{Result, ensure};

use super::ForClient;
use crate::client::Client;

pub const CASES: &[ForClient] = &[
    ("read_only", read_only),
    ("tmpfs", tmpfs),
    ("volume", volume),
    ("copy", copy),
    ("devices_and_proc", devices_and_proc),
];

fn read_only(client: &Client) -> Result<()> {
    let out = client.shell(&["--read-only"], "touch /made")?.status(1)?;
    ensure!(out.stderr.contains("Read-only file system"), "{out}");
    client.shell(&[], "touch /made && rm /made")?.status(0)?;
    Ok(())
}

fn tmpfs(client: &Client) -> Result<()> {
    let flags = ["--read-only", "--tmpfs", "/scratch:size=1m,mode=1777"];
    let script = "echo text > /scratch/file && cat /scratch/file && stat -c %a /scratch && \
                  ! dd if=/dev/zero of=/scratch/big bs=1k count=2000 2>/dev/null";
    client.shell(&flags, script)?.status(0)?.prints("text\n1777")?;
    Ok(())
}

fn volume(client: &Client) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    fs::write(folder.path().join("in"), "from outside\n")?;
    let path = folder.path().display();
    client
        .shell(&["-v", &format!("{path}:/shared")], "cat /shared/in; echo from inside > /shared/out")?
        .status(0)?
        .prints("from outside")?;
    ensure!(fs::read_to_string(folder.path().join("out"))? == "from inside\n");
    let out = client.shell(&["-v", &format!("{path}:/shared:ro")], "cat /shared/out; touch /shared/more")?;
    ensure!(out.status == 1 && out.stdout == "from inside\n" && out.stderr.contains("Read-only"), "{out}");
    ensure!(!folder.path().join("more").exists());
    // One file.
    let file = format!("{path}/in:/etc/one:ro");
    client.run(&["-v", &file], &["cat", "/etc/one"])?.status(0)?.prints("from outside")?;
    Ok(())
}

fn copy(client: &Client) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let (into, out) = (folder.path().join("into"), folder.path().join("out"));
    fs::write(&into, "copied in\n")?;
    fs::set_permissions(&into, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let container = client.start(&[], &["sleep", "1000"])?;
    let inside = |name: &str| format!("{}:/root/{name}", container.name);
    client.call(&["cp", &into.display().to_string(), &inside("in")])?.status(0)?;
    container.exec(&[], &["cat", "/root/in"])?.status(0)?.prints("copied in")?;
    container.shell("echo made inside > /root/made")?.status(0)?;
    client.call(&["cp", &inside("made"), &out.display().to_string()])?.status(0)?;
    ensure!(fs::read_to_string(&out)? == "made inside\n");
    Ok(())
}

fn devices_and_proc(client: &Client) -> Result<()> {
    let script = "test -c /dev/null -a -c /dev/zero -a -c /dev/full -a -c /dev/random -a -c /dev/tty && \
                  test -d /dev/pts -a -d /dev/shm -a -e /dev/ptmx && echo x > /dev/null && \
                  head -c 3 /dev/zero | wc -c && readlink /proc/self/fd/0 > /dev/null && \
                  test -r /proc/meminfo -a -r /proc/self/status && \
                  test -z \"$(cat /proc/kcore 2>/dev/null | head -c 1)\" && \
                  ! (echo 1 > /proc/sys/kernel/panic) 2>/dev/null && ! mount -t tmpfs none /tmp 2>/dev/null";
    client.shell(&[], script)?.status(0)?.prints("3")?;
    Ok(())
}

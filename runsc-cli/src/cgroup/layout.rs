//! Where the hierarchies of cgroups are, and directories in them.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{CgroupError, failed};

/// A hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its controllers, with commas between; `name=…` for one without.
    pub names: String,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The process's place in it, without a slash in front.
    pub own: PathBuf,
}

/// All hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Of version 1.
    pub v1: Vec<Controller>,
    /// Of version 2.
    pub v2: Option<Controller>,
}

impl Layout {
    /// As this process sees them, with the places of a process: `self`, or a pid.
    pub fn of(process: &str) -> io::Result<Layout> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let own = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
        Ok(Layout::parse(&mounts, &own))
    }

    fn parse(mounts: &str, own: &str) -> Layout {
        let mut layout = Layout::default();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let version = if names.is_empty() { "cgroup2" } else { "cgroup" };
            let Some(mount) = mounts.lines().find_map(|line| mount_of(line, version, names)) else {
                continue;
            };
            let controller = Controller {
                names: names.to_owned(),
                mount,
                own: PathBuf::from(path.trim_start_matches('/')),
            };
            if names.is_empty() {
                layout.v2 = Some(controller);
            } else {
                layout.v1.push(controller);
            }
        }
        layout
    }
}

/// The place of a line of mountinfo, if it is a mount of this hierarchy.
fn mount_of(line: &str, version: &str, names: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    if after.next()? != version {
        return None;
    }
    let options = after.nth(1)?;
    let has_all = names.split(',').all(|name| options.split(',').any(|option| option == name));
    let place = before.split(' ').nth(4)?;
    (version == "cgroup2" || has_all).then(|| PathBuf::from(place))
}

/// A cgroupsPath as a path below a hierarchy's root: `slice:prefix:name` of systemd becomes the directories that systemd would
/// make. `None` for one that leads out.
pub fn relative(path: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = path.split(':').collect();
    let path = match parts[..] {
        [slice, prefix, name] => {
            let unit = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}-{name}.scope") };
            slices(if slice.is_empty() { "system.slice" } else { slice })?.join(unit)
        }
        _ => PathBuf::from(path.trim_start_matches('/')),
    };
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (plain && !path.as_os_str().is_empty()).then_some(path)
}

/// `a-b.slice` lies in `a.slice`. `None` for what is no name of a slice.
pub fn slices(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    if name.split('-').any(|part| matches!(part, "" | "." | "..") || part.contains('/')) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("{}.slice", &name[..end])).collect())
}

/// The processes in a directory and below.
pub fn processes(dir: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for below in subdirectories(dir) {
        pids.extend(processes(&below));
    }
    pids
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Takes a directory away, with those below. What is left of its processes is about to be gone.
pub fn remove(dir: &Path) -> Result<(), CgroupError> {
    for below in subdirectories(dir) {
        remove(&below)?;
    }
    let mut wait = Duration::from_millis(1);
    loop {
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && wait < Duration::from_secs(2) => {
                for pid in processes(dir) {
                    // An error: it is gone.
                    let _ = host::signal::kill(pid, libc::SIGKILL);
                }
                std::thread::sleep(wait);
                wait *= 2;
            }
            Err(error) => return Err(failed(dir, "removing it")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn layouts() {
        let hybrid = Layout::parse(MOUNTS, "4:cpu,cpuacct:/a/b\n1:name=systemd:/\n0::/x\n");
        assert_eq!(hybrid.v1.len(), 2);
        assert_eq!(hybrid.v1[0].mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(hybrid.v1[0].own, Path::new("a/b"));
        assert_eq!(hybrid.v2.unwrap().mount, Path::new("/sys/fs/cgroup/unified"));
        let v2 = Layout::parse("29 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/user.slice\n");
        assert!(v2.v1.is_empty());
        assert_eq!(v2.v2.unwrap().own, Path::new("user.slice"));
    }

    #[test]
    fn paths() {
        let path = |text| relative(text).map(|path| path.display().to_string());
        assert_eq!(path("/docker/abc").as_deref(), Some("docker/abc"));
        assert_eq!(path("abc").as_deref(), Some("abc"));
        assert_eq!(path("machine.slice:libpod:x").as_deref(), Some("machine.slice/libpod-x.scope"));
        assert_eq!(path("a-b.slice:cri:x").as_deref(), Some("a.slice/a-b.slice/cri-x.scope"));
        assert_eq!(path("/a/../../b"), None);
        assert_eq!(path("/"), None);
    }
}

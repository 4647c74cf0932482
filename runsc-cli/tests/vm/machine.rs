//! Making the system, and booting it.
//!
//! The whole system is in the initial file system of the kernel, an archive made by cpio(5), with a second one behind it that
//! has what is tested. It moves itself to a tmpfs, since nobody can pivot_root(2) out of the first.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is installed in it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,udev,procps,uidmap,runc,crun,busybox-static,linux-image-cloud-amd64";
/// What of that nobody looks at in there.
const NOT_NEEDED: [&str; 9] = [
    "boot",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "var/lib/apt",
    "var/cache",
    "usr/lib/udev/hwdb.d",
    "usr/lib/modules/KERNEL/kernel/drivers/net",
    "usr/lib/modules/KERNEL/kernel/fs/xfs",
];
/// From power on to off, under emulation and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// First process of the machine: to a tmpfs, and there to systemd.
const INIT: &str = "#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox mount -t tmpfs -o mode=755,size=90% tmpfs /mnt
for dir in bin sbin lib lib64 etc usr var root test; do busybox cp -a /$dir /mnt/; done
cd /mnt && busybox mkdir -p proc sys dev run tmp mnt home && busybox chmod 1777 tmp
exec busybox switch_root /mnt /sbin/init
";

/// What systemd starts once it is up: the tests, with the second serial line as their output.
const SERVICE: &str = "[Unit]
After=dbus.service systemd-logind.service
Wants=dbus.service systemd-logind.service
[Service]
Type=oneshot
Delegate=yes
EnvironmentFile=/test/environment
ExecStart=/test/vm --ignored --test-threads=1 --nocapture $CASES
ExecStopPost=/bin/systemctl poweroff --force --force
StandardOutput=file:/dev/ttyS1
StandardError=file:/dev/ttyS1
[Install]
WantedBy=multi-user.target
";

/// How cgroups are mounted.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// Version 2 alone.
    Unified,
    /// Version 1, and version 2 without controllers beside it.
    Hybrid,
}

/// A system that can be booted.
pub struct Machine {
    kernel: PathBuf,
    /// The archive of the system.
    system: PathBuf,
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}: {said}", output.status)) }
}

/// The Debian that this machine is, so that programs of it run in there too.
fn suite() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("bookworm").to_owned()
}

impl Machine {
    /// Makes it, unless it is there.
    pub fn make() -> Result<Machine, String> {
        run(Command::new("qemu-system-x86_64").arg("--version"))
            .map_err(|why| format!("install qemu-system-x86: {why}"))?;
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let target = own.ancestors().find(|dir| dir.ends_with("target")).ok_or("no target folder")?;
        let dir = target.join("vm");
        let machine = Machine { kernel: dir.join("vmlinuz"), system: dir.join("system.cpio") };
        if !machine.system.exists() {
            let root = tempfile::tempdir().map_err(|error| error.to_string())?;
            run(Command::new("mmdebstrap")
                .args(["--quiet", "--mode=root", "--variant=minbase", "--dpkgopt=force-unsafe-io"])
                .arg(format!("--include={PACKAGES}"))
                .arg(suite())
                .arg(root.path()))?;
            std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
            machine.archive(root.path()).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        Ok(machine)
    }

    fn archive(&self, root: &Path) -> io::Result<()> {
        let boot = std::fs::read_dir(root.join("boot"))?.flatten().map(|entry| entry.path());
        let kernel = boot.filter_map(|path| {
            let version = path.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
            Some((path, version))
        });
        let (kernel, version) =
            kernel.last().ok_or_else(|| io::Error::other("the packages brought no kernel"))?;
        std::fs::copy(kernel, &self.kernel)?;
        for name in NOT_NEEDED {
            let path = root.join(name.replace("KERNEL", &version));
            if path.exists() {
                std::fs::remove_dir_all(path)?;
            }
        }
        std::fs::write(root.join("init"), INIT)?;
        std::fs::set_permissions(root.join("init"), std::fs::Permissions::from_mode(0o755))?;
        std::fs::write(root.join("etc/systemd/system/tests.service"), SERVICE)?;
        let wanted = root.join("etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wanted)?;
        std::os::unix::fs::symlink("../tests.service", wanted.join("tests.service"))?;
        std::fs::write(root.join("etc/machine-id"), "")?;
        run(Command::new("chroot").arg(root).args(["/usr/sbin/useradd", "--create-home", "tester"]))
            .map_err(io::Error::other)?;
        // An ordinary user's systemd runs without a login, too.
        std::fs::create_dir_all(root.join("var/lib/systemd/linger"))?;
        File::create(root.join("var/lib/systemd/linger/tester"))?;
        let beside = self.system.with_extension("new");
        Archive::create(&beside)?.tree(root)?.end()?;
        std::fs::rename(beside, &self.system)
    }

    /// Boots it, and waits until it turns itself off; what the tests in it printed.
    pub fn boot(&self, layout: Layout) -> String {
        let place = tempfile::tempdir().unwrap();
        let [image, console, output] = ["image", "console", "output"].map(|name| place.path().join(name));
        let cases = std::env::var("RUNSC_VM_CASES").unwrap_or_else(|_| "inside::".to_owned());
        let environment = format!("CASES={}\nRUST_BACKTRACE=0\n", cases.replace(',', " "));
        std::fs::copy(&self.system, &image).unwrap();
        Archive::append(&image)
            .and_then(|archive| archive.directory("test"))
            .and_then(|archive| archive.file("test/vm", 0o755, &std::fs::read(std::env::current_exe()?)?))
            .and_then(|archive| {
                archive.file("test/runsc", 0o755, &std::fs::read(env!("CARGO_BIN_EXE_runsc"))?)
            })
            .and_then(|archive| archive.file("test/environment", 0o644, environment.as_bytes()))
            .and_then(Archive::end)
            .unwrap();
        let unified = match layout {
            Layout::Unified => "1",
            Layout::Hybrid => "0",
        };
        let accel = std::env::var("RUNSC_VM_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".to_owned());
        let disk = place.path().join("disk");
        File::create(&disk).and_then(|file| file.set_len(16 << 20)).unwrap();
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", &accel, "-cpu", "max", "-m", "2560", "-smp", "2"])
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&image)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 panic=-1 mitigations=off loglevel=4 systemd.show_status=0 systemd.unified_cgroup_hierarchy={unified}"
            ))
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio", disk.display()))
            .args(["-serial", &format!("file:{}", console.display())])
            .args(["-serial", &format!("file:{}", output.display())])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while qemu.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                qemu.kill().unwrap();
                qemu.wait().unwrap();
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).replace('\r', "");
        let printed = read(&output);
        if printed.contains("test result:") { printed } else { printed + &read(&console) }
    }
}

/// An archive of the form that the kernel takes, `newc` of cpio(5).
struct Archive {
    file: BufWriter<File>,
    /// Bytes so far, of which the padding depends.
    length: usize,
    /// The number of the next file.
    next: u32,
}

/// What an entry is, besides its content.
struct Entry<'a> {
    name: &'a [u8],
    mode: u32,
    owner: (u32, u32),
    device: (u32, u32),
}

impl Archive {
    fn create(path: &Path) -> io::Result<Archive> {
        Ok(Archive { file: BufWriter::new(File::create(path)?), length: 0, next: 1 })
    }

    /// A further archive behind one.
    fn append(path: &Path) -> io::Result<Archive> {
        let file = File::options().append(true).open(path)?;
        Ok(Archive { file: BufWriter::new(file), length: 0, next: 1 })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len();
        self.file.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = self.length.next_multiple_of(4) - self.length;
        self.put(&[0; 4][..missing])
    }

    fn entry(mut self, entry: &Entry<'_>, content: &[u8]) -> io::Result<Archive> {
        let number = self.next;
        self.next += 1;
        let (uid, gid) = entry.owner;
        let (major, minor) = entry.device;
        let fields = [
            number,
            entry.mode,
            uid,
            gid,
            1,
            0,
            content.len() as u32,
            0,
            0,
            major,
            minor,
            entry.name.len() as u32 + 1,
            0,
        ];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08x}").as_bytes())?;
        }
        self.put(entry.name)?;
        self.put(&[0])?;
        self.pad()?;
        self.put(content)?;
        self.pad()?;
        Ok(self)
    }

    fn file(self, name: &str, mode: u32, content: &[u8]) -> io::Result<Archive> {
        let mode = 0o100_000 | mode;
        self.entry(&Entry { name: name.as_bytes(), mode, owner: (0, 0), device: (0, 0) }, content)
    }

    fn directory(self, name: &str) -> io::Result<Archive> {
        let name = name.as_bytes();
        self.entry(&Entry { name, mode: 0o040_755, owner: (0, 0), device: (0, 0) }, &[])
    }

    /// All that is below a directory.
    fn tree(self, root: &Path) -> io::Result<Archive> {
        self.below(root, root)
    }

    fn below(mut self, root: &Path, dir: &Path) -> io::Result<Archive> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let meta = std::fs::symlink_metadata(&path)?;
            let content = content(&path, &meta)?;
            let name = path.strip_prefix(root).map_err(io::Error::other)?.as_os_str().as_bytes();
            let device = if meta.file_type().is_char_device() || meta.file_type().is_block_device() {
                (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()))
            } else {
                (0, 0)
            };
            let entry = Entry { name, mode: meta.mode(), owner: (meta.uid(), meta.gid()), device };
            self = self.entry(&entry, &content)?;
            if meta.is_dir() {
                self = self.below(root, &path)?;
            }
        }
        Ok(self)
    }

    fn end(self) -> io::Result<()> {
        let last = Entry { name: b"TRAILER!!!", mode: 0, owner: (0, 0), device: (0, 0) };
        let mut archive = self.entry(&last, &[])?;
        archive.file.flush()
    }
}

fn content(path: &Path, meta: &Metadata) -> io::Result<Vec<u8>> {
    if meta.is_file() {
        std::fs::read(path)
    } else if meta.is_symlink() {
        Ok(std::fs::read_link(path)?.as_os_str().as_bytes().to_vec())
    } else {
        Ok(Vec::new())
    }
}

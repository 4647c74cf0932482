//! devpts: names of the slaves of pseudo-terminals, and ptmx, which makes pairs (pts(4)).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::{S_IFCHR, makedev, minor};
use sync::Mutex;

use crate::Kernel;
use crate::Result;
use crate::fs::host::HostTty;
use crate::fs::pseudo::{Children, Entry, PseudoDir, attr};
use crate::tty::{Pty, SLAVE_MAJOR};
use crate::vfs::{
    Attr, Caller, Dentry, FileOps, Inode, InodeOps, SetAttr, StatFs, SuperBlock, SuperBlockOps,
};
use crate::vfs::{Driver, FileSystemType, MountRequest, OpenedOps, Path};

const DT_CHR: u8 = 2;
/// Device number of ptmx.
const PTMX: (u32, u32) = (5, 2);
/// Pairs at a time (kernel.pty.max).
const MAX_PTYS: usize = 4096;

/// The kind of file system. Each mount is an instance of its own.
pub struct DevPts {
    kernel: Weak<Kernel>,
}

impl DevPts {
    /// The kind and, through `vfs`, the driver of /dev/ptmx nodes outside of it.
    pub fn register(kernel: &Arc<Kernel>) {
        kernel.vfs.register_type(Arc::new(DevPts { kernel: Arc::downgrade(kernel) }));
        kernel.vfs.register_char_devices(PTMX.0, PTMX.1..=PTMX.1, Arc::new(PtmxDriver));
    }
}

/// A name: that of a slave, whose pair it keeps, or that of the terminal outside.
struct Named {
    inode: Arc<Inode>,
    #[allow(dead_code, reason = "lives as long as its name")]
    pty: Option<Arc<Pty>>,
}

/// Pairs and the names of their slaves, by number.
type Pairs = BTreeMap<u32, Named>;

/// One mount's pairs.
struct Instance {
    kernel: Weak<Kernel>,
    ptys: Mutex<Pairs, sync::levels::Leaf>,
    sb: Weak<SuperBlock>,
    me: Weak<Instance>,
    options: Arc<Mutex<Options, sync::levels::Leaf>>,
}

#[derive(Clone, Copy)]
struct Options {
    mode: u32,
    gid: Option<u32>,
    uid: Option<u32>,
    ptmx_mode: u32,
    /// Pairs at most, where that is said.
    max: Option<u32>,
}

/// Options that stay as they are unless `options` says otherwise.
fn parse(options: &[u8], old: Options) -> Result<Options> {
    let mut parsed = old;
    let text = std::str::from_utf8(options).map_err(|_| Errno::EINVAL)?;
    for option in text.split(',').filter(|o| !o.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let octal = || u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL);
        match key {
            "mode" => parsed.mode = octal()? & 0o777,
            "ptmxmode" => parsed.ptmx_mode = octal()? & 0o777,
            "gid" => parsed.gid = Some(value.parse().map_err(|_| Errno::EINVAL)?),
            "uid" => parsed.uid = Some(value.parse().map_err(|_| Errno::EINVAL)?),
            "newinstance" => {}
            "max" => parsed.max = Some(value.parse().map_err(|_| Errno::EINVAL)?),
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(parsed)
}

/// The super block.
struct DevPtsSuper {
    options: Arc<Mutex<Options, sync::levels::Leaf>>,
    /// ptmx, once it is made.
    ptmx: OnceLock<Weak<Inode>>,
}

impl SuperBlockOps for DevPtsSuper {
    fn kind(&self) -> &'static str {
        "devpts"
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(0x1cd1))
    }

    fn options(&self) -> String {
        let options = *self.options.lock();
        let mut parts = Vec::new();
        parts.extend(options.uid.map(|uid| format!("uid={uid}")));
        parts.extend(options.gid.map(|gid| format!("gid={gid}")));
        parts.push(format!("mode={:03o},ptmxmode={:03o}", options.mode, options.ptmx_mode));
        parts.extend(options.max.map(|max| format!("max={max}")));
        parts.join(",")
    }

    fn reconfigure(&self, options: &[u8]) -> Result<()> {
        let old = *self.options.lock();
        let new = parse(options, old)?;
        *self.options.lock() = new;
        if let Some(inode) = self.ptmx.get().and_then(Weak::upgrade)
            && new.ptmx_mode != old.ptmx_mode
        {
            inode
                .ops()
                .set_attr(&inode, &SetAttr { permissions: Some(new.ptmx_mode), ..SetAttr::default() })?;
        }
        Ok(())
    }

    fn revalidate(&self) -> bool {
        true
    }
}

impl FileSystemType for DevPts {
    fn name(&self) -> &'static str {
        "devpts"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, _caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let default = Options { mode: 0o600, gid: None, uid: None, ptmx_mode: 0, max: None };
        let options = parse(request.options, default)?;
        let shared = Arc::new(Mutex::new(options));
        let sb =
            SuperBlock::new(Box::new(DevPtsSuper { options: Arc::clone(&shared), ptmx: OnceLock::new() }));
        let instance = Arc::new_cyclic(|me| Instance {
            kernel: Weak::clone(&self.kernel),
            ptys: Mutex::default(),
            sb: Arc::downgrade(&sb),
            me: Weak::clone(me),
            options: shared,
        });
        let ptmx_attr =
            Attr { rdev: makedev(PTMX.0, PTMX.1), ..attr(2, S_IFCHR | options.ptmx_mode, 1, 0, 0) };
        let ptmx = Inode::new(
            &sb,
            &ptmx_attr,
            Box::new(Ptmx { instance: Arc::clone(&instance), attr: Mutex::new(ptmx_attr) }),
        );
        if let Some(ops) = sb.downcast::<DevPtsSuper>() {
            // Set once, right here.
            let _ = ops.ptmx.set(Arc::downgrade(&ptmx));
        }
        let root = PseudoDir::inode(&sb, Root { instance, ptmx });
        Ok(Dentry::new_root(root))
    }
}

impl Instance {
    /// A new pair: its master.
    fn new_pair(&self, caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        let kernel = self.kernel.upgrade().ok_or(Errno::EIO)?;
        let sb = self.sb.upgrade().ok_or(Errno::EIO)?;
        let options = *self.options.lock();
        let most = options.max.map_or(MAX_PTYS, |max| MAX_PTYS.min(max as usize));
        let mut ptys = self.ptys.lock();
        let index =
            (0..).find(|i| !ptys.contains_key(i)).filter(|_| ptys.len() < most).ok_or(Errno::ENOSPC)?;
        let me = Weak::clone(&self.me);
        let on_close = move |index: u32| {
            let Some(instance) = me.upgrade() else { return };
            let gone = instance.ptys.lock().remove(&index);
            drop(gone);
        };
        let pty = Pty::new(&kernel, index, Box::new(on_close));
        let ino = u64::from(NEXT_INO.fetch_add(1, Ordering::Relaxed));
        let uid = options.uid.unwrap_or(caller.creds.fsuid);
        let gid = options.gid.unwrap_or(caller.creds.fsgid);
        let slave = attr(ino, S_IFCHR | options.mode, 1, uid, gid);
        let slave = Attr { rdev: makedev(SLAVE_MAJOR, index), ..slave };
        let ops = SlaveNode { terminal: Terminal::Slave(Arc::downgrade(&pty)), attr: Mutex::new(slave) };
        let inode = Inode::new(&sb, &slave, Box::new(ops));
        let master = pty.master();
        ptys.insert(index, Named { inode, pty: Some(pty) });
        Ok(master)
    }

    /// Gives the terminal outside a name, its own number if that is free.
    fn show(&self, tty: &Arc<HostTty>, like: &Attr) -> Result<u64> {
        let sb = self.sb.upgrade().ok_or(Errno::EIO)?;
        let mut ptys = self.ptys.lock();
        let own = minor(like.rdev);
        let index = Some(own).filter(|own| !ptys.contains_key(own));
        let index = index.or_else(|| (0..).find(|i| !ptys.contains_key(i))).ok_or(Errno::ENOSPC)?;
        let ino = u64::from(NEXT_INO.fetch_add(1, Ordering::Relaxed));
        let slave = Attr { rdev: makedev(SLAVE_MAJOR, index), ..attr(ino, like.mode, 1, like.uid, like.gid) };
        let ops = SlaveNode { terminal: Terminal::Host(Arc::clone(tty)), attr: Mutex::new(slave) };
        ptys.insert(index, Named { inode: Inode::new(&sb, &slave, Box::new(ops)), pty: None });
        Ok(slave.rdev)
    }
}

/// Inode numbers: the root has 1, ptmx 2.
static NEXT_INO: AtomicU32 = AtomicU32::new(3);

/// Shows the terminal that `runsc` was started on in the devpts whose root `dir` is: its device number there, the minor
/// part of which is its name.
pub fn show_host_terminal(dir: &Inode, tty: &Arc<HostTty>, like: &Attr) -> Result<u64> {
    let root = dir.downcast::<PseudoDir<Root>>().ok_or(Errno::EINVAL)?;
    root.0.instance.show(tty, like)
}

struct Root {
    instance: Arc<Instance>,
    ptmx: Arc<Inode>,
}

impl Children for Root {
    fn owner(&self) -> (u32, u32, u32) {
        (0o755, 0, 0)
    }

    fn find(&self, _dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        if name == b"ptmx" {
            return Ok(Some(Arc::clone(&self.ptmx)));
        }
        let index =
            std::str::from_utf8(name).ok().and_then(|n| n.parse::<u32>().ok().filter(|i| i.to_string() == n));
        let ptys = self.instance.ptys.lock();
        Ok(index.and_then(|i| ptys.get(&i)).map(|named| Arc::clone(&named.inode)))
    }

    fn list(&self, _dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        let entry =
            |name: String, ino, position| Entry { name: name.into_bytes(), ino, kind: DT_CHR, position };
        let mut list = Vec::new();
        if position == 0 {
            list.push(entry("ptmx".to_owned(), self.ptmx.ino, 0));
        }
        let ptys = self.instance.ptys.lock();
        for (index, named) in ptys.range(position.saturating_sub(1) as u32..) {
            list.push(entry(index.to_string(), named.inode.ino, u64::from(*index) + 1));
        }
        Ok(list)
    }
}

/// ptmx of this instance.
struct Ptmx {
    instance: Arc<Instance>,
    attr: Mutex<Attr, sync::levels::Inode>,
}

fn change_attr(slot: &Mutex<Attr, sync::levels::Inode>, inode: &Inode, change: &SetAttr) {
    let mut attr = slot.lock();
    attr.apply(change);
    inode.set_owner(attr.mode, attr.uid, attr.gid);
}

impl InodeOps for Ptmx {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        Ok(*self.attr.lock())
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        change_attr(&self.attr, inode, change);
        Ok(())
    }

    fn is_special(&self, _inode: &Inode) -> bool {
        false
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        self.instance.new_pair(caller)
    }
}

/// What a name stands for.
enum Terminal {
    Slave(Weak<Pty>),
    Host(Arc<HostTty>),
}

/// The name of a terminal.
struct SlaveNode {
    terminal: Terminal,
    attr: Mutex<Attr, sync::levels::Inode>,
}

impl InodeOps for SlaveNode {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        Ok(*self.attr.lock())
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        change_attr(&self.attr, inode, change);
        Ok(())
    }

    fn is_special(&self, _inode: &Inode) -> bool {
        false
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        match &self.terminal {
            Terminal::Slave(pty) => pty.upgrade().ok_or(Errno::EIO)?.open_slave(),
            Terminal::Host(tty) => tty.open(),
        }
    }
}

/// ptmx as a device node: its pairs are made in the devpts that is mounted on `pts` beside it. ENOENT when there is no
/// `pts`, ENODEV when that is no devpts.
struct PtmxDriver;

impl Driver for PtmxDriver {
    fn open(&self, place: &Path, _flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
        let dir = place.dentry.parent().ok_or(Errno::ENOENT)?;
        let beside = dir.lookup(b"pts", caller)?.ok_or(Errno::ENOENT)?;
        let root = Path::new(Arc::clone(&place.mount), beside).topmost();
        let root = root.inode().downcast::<PseudoDir<Root>>().ok_or(Errno::ENODEV)?;
        Ok(OpenedOps::Ready(root.0.instance.new_pair(caller)?))
    }
}

//! Path resolution (path_resolution(7), openat2(2)): the one place where names become places.
//!
//! A [`Walk`] goes over a text and the texts of the symbolic links it meets, component by component. What is cached
//! costs no allocation and no request; for what is not, the file system is asked for the rest of the text at once.

use std::sync::Arc;

use abi::Errno;
use abi::open::ResolveFlags;
use smallvec::SmallVec;

use super::attr::{Attr, FileType};
use super::caller::Caller;
use super::dentry::{Cached, Dentry, Run, moves};
use super::inode::Link;
use super::mount::{MountFlags, tree_changes};
use super::name::Name;
use super::path::Path;
use super::permission::Want;
use crate::Result;

/// Symbolic links that one resolution follows at most.
const MAX_LINKS: u32 = 40;

bitflags::bitflags! {
    /// How the end of a path is treated.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LookupFlags: u32 {
        /// A symbolic link at the end is followed.
        const FOLLOW = 1;
        /// The end must be a directory.
        const DIRECTORY = 2;
        /// An empty path is the starting place itself (AT_EMPTY_PATH).
        const EMPTY = 4;
    }
}

/// Where a walk ends that is only after attributes.
pub enum End {
    /// At a place.
    Place(Path),
    /// At an entry of a directory (which is no directory, and nothing is mounted there): these are its attributes.
    Entry(Path, Attr),
}

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// An ordinary name.
    Name(Name),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path is nothing but slashes.
    Root,
}

/// A path but for its last component.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The directory.
    pub dir: Path,
    /// The component that is left.
    pub last: Last,
    /// Whether slashes follow it.
    pub trailing_slash: bool,
}

impl Parent {
    /// The name, when it is an ordinary one.
    pub fn name(&self) -> Option<&[u8]> {
        match &self.last {
            Last::Name(name) => Some(name.as_bytes()),
            _ => None,
        }
    }
}

/// Where `path` leads from `at`.
pub fn lookup(caller: &Caller<'_>, at: &Path, path: &[u8], flags: LookupFlags) -> Result<Path> {
    Walk::new(caller, at, path, flags, ResolveFlags::empty())?.to_end()
}

/// What `path` leads to from `at`, for who only wants its attributes.
pub fn lookup_attr(caller: &Caller<'_>, at: &Path, path: &[u8], flags: LookupFlags) -> Result<End> {
    Walk::new(caller, at, path, flags, ResolveFlags::empty())?.to_attr()
}

/// The directory that the last component of `path` is (to be) in.
pub fn lookup_parent(caller: &Caller<'_>, at: &Path, path: &[u8]) -> Result<Parent> {
    Walk::new(caller, at, path, LookupFlags::empty(), ResolveFlags::empty())?.to_parent()
}

/// A text being walked over.
struct Text<'a> {
    bytes: TextBytes<'a>,
    at: usize,
}

enum TextBytes<'a> {
    Given(&'a [u8]),
    Link(Arc<[u8]>),
}

impl Text<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            TextBytes::Given(bytes) => bytes,
            TextBytes::Link(bytes) => bytes,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes()[self.at..]
    }

    /// Whether only slashes are left.
    fn is_done(&self) -> bool {
        self.rest().iter().all(|b| *b == b'/')
    }
}

/// A component, as a place in the text on top of the stack.
#[derive(Clone, Copy)]
struct Component {
    start: usize,
    end: usize,
    last: bool,
    /// Slashes follow the last one.
    slashes: bool,
}

/// A resolution under way.
pub struct Walk<'a> {
    caller: &'a Caller<'a>,
    /// Where absolute links start and `..` stops: the caller's root, or with RESOLVE_IN_ROOT and RESOLVE_BENEATH the
    /// starting place.
    root: &'a Path,
    resolve: ResolveFlags,
    flags: LookupFlags,
    at: Path,
    texts: SmallVec<[Text<'a>; 2]>,
    links: u32,
    /// Dentries below `at` that the file system has just told, in reverse.
    ahead: Run,
    /// Moves and changes of mounts when it began: a scoped walk that meets one of them may have been led out.
    began: (u64, u64),
    must_be_directory: bool,
    /// Whether attributes at the end will do.
    peeks: bool,
    /// The attributes at the end, where a look at them has done: then the walk has stayed in the directory.
    peeked: Option<Attr>,
}

impl<'a> Walk<'a> {
    /// Begins at `at`, or at the root for an absolute path.
    pub fn new(
        caller: &'a Caller<'a>,
        at: &'a Path,
        path: &'a [u8],
        flags: LookupFlags,
        resolve: ResolveFlags,
    ) -> Result<Walk<'a>> {
        if path.is_empty() && !flags.contains(LookupFlags::EMPTY) {
            return Err(Errno::ENOENT);
        }
        let scoped = resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        let root = if scoped { at } else { &caller.roots.root };
        let absolute = path.first() == Some(&b'/');
        if absolute && resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let start = if absolute { root } else { at };
        if !path.is_empty() && !start.inode().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let mut texts = SmallVec::new();
        texts.push(Text { bytes: TextBytes::Given(path), at: 0 });
        Ok(Walk {
            caller,
            root,
            resolve,
            flags,
            at: start.clone(),
            texts,
            links: 0,
            ahead: Run::new(),
            began: (moves(), tree_changes()),
            must_be_directory: flags.contains(LookupFlags::DIRECTORY),
            peeks: false,
            peeked: None,
        })
    }

    /// Goes to the end.
    pub fn to_end(mut self) -> Result<Path> {
        self.go_to_end()?;
        Ok(self.at)
    }

    /// Goes to the end, or so near that its attributes are known.
    pub fn to_attr(mut self) -> Result<End> {
        self.peeks = true;
        self.go_to_end()?;
        Ok(match self.peeked {
            Some(attr) => End::Entry(self.at, attr),
            None => End::Place(self.at),
        })
    }

    fn go_to_end(&mut self) -> Result<()> {
        while let Some(component) = self.next() {
            self.may_search()?;
            self.step(component)?;
            if !component.last && !self.at.inode().is_dir() {
                return Err(Errno::ENOTDIR);
            }
        }
        if self.must_be_directory && !self.at.inode().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(())
    }

    /// Goes to the directory of the last component.
    pub fn to_parent(mut self) -> Result<Parent> {
        self.go_to_parent()
    }

    /// As [`to_parent`](Self::to_parent), and can be continued with [`follow`](Self::follow).
    pub fn go_to_parent(&mut self) -> Result<Parent> {
        while let Some(component) = self.next() {
            self.may_search()?;
            if component.last {
                let name = &self.texts.last().map_or(&[][..], Text::bytes)[component.start..component.end];
                let last = match name {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    name => Last::Name(Name::new(name)),
                };
                self.texts.clear();
                return Ok(Parent { dir: self.at.clone(), last, trailing_slash: component.slashes });
            }
            self.step(component)?;
            if !self.at.inode().is_dir() {
                return Err(Errno::ENOTDIR);
            }
        }
        Ok(Parent { dir: self.at.clone(), last: Last::Root, trailing_slash: true })
    }

    /// The end of a path that [`go_to_parent`](Self::go_to_parent) has left open is `.` or `..`.
    pub fn step_dots(&mut self, last: &Last) -> Result<Path> {
        if *last == Last::DotDot {
            self.up()?;
        }
        Ok(self.at.clone())
    }

    /// The last component has turned out to be `dentry`: goes there, over what is mounted on it. Says whether it is a
    /// symbolic link, which has been followed (then the walk goes on), if `follow`.
    pub fn enter_last(&mut self, dentry: Arc<Dentry>, follow: LookupFlags) -> Result<Entered> {
        if dentry.inode.is_symlink() && follow.contains(LookupFlags::FOLLOW) {
            self.follow(&dentry)?;
            if self.texts.is_empty() {
                return Ok(Entered::There(self.at.clone()));
            }
            return Ok(Entered::Link);
        }
        self.at.dentry = dentry;
        self.enter_mounts()?;
        Ok(Entered::There(self.at.clone()))
    }

    /// The next component of the text.
    fn next(&mut self) -> Option<Component> {
        loop {
            let text = self.texts.last_mut()?;
            let bytes = match &text.bytes {
                TextBytes::Given(bytes) => bytes,
                TextBytes::Link(bytes) => &bytes[..],
            };
            let mut start = text.at;
            while bytes.get(start) == Some(&b'/') {
                start += 1;
            }
            if start == bytes.len() {
                // Only slashes: they ask for a directory where the texts above this one end.
                self.texts.pop();
                continue;
            }
            let length = bytes[start..].iter().position(|b| *b == b'/').unwrap_or(bytes.len() - start);
            let end = start + length;
            text.at = end;
            let last = self.texts.iter().all(Text::is_done);
            let slashes = last && self.texts.iter().any(|text| !text.rest().is_empty());
            if slashes {
                self.must_be_directory = true;
            }
            return Some(Component { start, end, last, slashes });
        }
    }

    fn may_search(&self) -> Result<()> {
        self.at.inode().permission(self.caller, Want::EXEC)
    }

    /// Goes over one component.
    fn step(&mut self, component: Component) -> Result<()> {
        let Some(text) = self.texts.last() else { return Ok(()) };
        let name = &text.bytes()[component.start..component.end];
        match name {
            b"." => return Ok(()),
            b".." => return self.up(),
            _ => {}
        }
        let follow = !component.last || component.slashes || self.flags.contains(LookupFlags::FOLLOW);
        let child = match self.ahead.pop() {
            Some(next) if is_entry(&next, &self.at.dentry, name) => next,
            _ => {
                self.ahead.clear();
                let dir = &self.at.dentry;
                match cached(dir, name) {
                    Cached::Hit(child) => child,
                    Cached::Negative => return Err(Errno::ENOENT),
                    Cached::Unknown if self.resolve.contains(ResolveFlags::CACHED) => {
                        return Err(Errno::EAGAIN);
                    }
                    Cached::Unknown => {
                        if self.peeks && component.last && !self.must_be_directory {
                            let wanted = |attr: &Attr| !(follow && is_symlink(attr));
                            self.peeked = dir.peek(name).filter(wanted);
                            if self.peeked.is_some() {
                                return Ok(());
                            }
                        }
                        ask(dir, name, text.rest(), self.caller, &mut self.ahead)?.ok_or(Errno::ENOENT)?
                    }
                }
            }
        };
        if child.inode.is_symlink() && follow {
            return self.follow(&child);
        }
        self.at.dentry = child;
        self.enter_mounts()
    }

    /// Goes over what is mounted on the place.
    fn enter_mounts(&mut self) -> Result<()> {
        while self.at.dentry.is_mount_point() {
            let Some(mount) = self.at.mount.child_at(&self.at.dentry) else { break };
            if self.resolve.contains(ResolveFlags::NO_XDEV) {
                return Err(Errno::EXDEV);
            }
            let dentry = Arc::clone(&mount.root);
            self.at = Path { mount, dentry };
        }
        Ok(())
    }

    /// Goes to `..`.
    fn up(&mut self) -> Result<()> {
        loop {
            if self.at == *self.root {
                if self.resolve.contains(ResolveFlags::BENEATH) {
                    return Err(self.out_of_reach());
                }
                break;
            }
            if self.at.is_mount_root() {
                let Some(point) = self.at.mount.mount_point() else { break };
                if self.resolve.contains(ResolveFlags::NO_XDEV) {
                    return Err(self.out_of_reach());
                }
                self.at = point;
                continue;
            }
            let Some(parent) = self.at.dentry.parent() else { break };
            // The directory may have been moved out of what a bind mount shows.
            let top = &self.at.mount.root;
            if top.parent().is_some() && !top.is_ancestor_of(&parent) {
                return Err(Errno::ENOENT);
            }
            self.at.dentry = parent;
            break;
        }
        self.enter_mounts()?;
        let scoped = self.resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        if scoped && self.began != (moves(), tree_changes()) {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// What `..` answers where it must not lead. On Linux that is found out where a walk by the cache alone does not go.
    fn out_of_reach(&self) -> Errno {
        if self.resolve.contains(ResolveFlags::CACHED) { Errno::EAGAIN } else { Errno::EXDEV }
    }

    /// Follows the symbolic link `link`, which is in the directory of the walk.
    fn follow(&mut self, link: &Arc<Dentry>) -> Result<()> {
        if self.resolve.contains(ResolveFlags::NO_SYMLINKS)
            || self.at.mount.flags().contains(MountFlags::NOSYMFOLLOW)
            || self.links == MAX_LINKS
        {
            return Err(Errno::ELOOP);
        }
        self.links += 1;
        match link.inode.ops().follow(&link.inode, self.caller)? {
            Link::Text(text) => {
                if text.first() == Some(&b'/') {
                    if self.resolve.contains(ResolveFlags::BENEATH) {
                        return Err(Errno::EXDEV);
                    }
                    self.check_same_mount(self.root)?;
                    self.at = self.root.clone();
                }
                self.texts.push(Text { bytes: TextBytes::Link(text), at: 0 });
                Ok(())
            }
            Link::Place(place) => {
                if self.resolve.contains(ResolveFlags::NO_MAGICLINKS) {
                    return Err(Errno::ELOOP);
                }
                self.check_same_mount(&place)?;
                if self.resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
                    return Err(Errno::EXDEV);
                }
                self.at = place;
                Ok(())
            }
        }
    }

    fn check_same_mount(&self, to: &Path) -> Result<()> {
        let same = Arc::ptr_eq(&self.at.mount, &to.mount);
        if self.resolve.contains(ResolveFlags::NO_XDEV) && !same { Err(Errno::EXDEV) } else { Ok(()) }
    }
}

/// What the last component has turned out to be.
pub enum Entered {
    /// A place.
    There(Path),
    /// A symbolic link with a text, which is to be walked on.
    Link,
}

fn is_entry(dentry: &Dentry, dir: &Arc<Dentry>, name: &[u8]) -> bool {
    dentry.with_place(|parent, its_name| parent.is_some_and(|p| Arc::ptr_eq(p, dir)) && its_name == name)
}

fn is_symlink(attr: &Attr) -> bool {
    FileType::from_mode(attr.mode) == Some(FileType::Symlink)
}

/// What is known of `name` in `dir`; nothing where each lookup asks.
fn cached(dir: &Dentry, name: &[u8]) -> Cached {
    if dir.inode.ops().revalidate(&dir.inode) { Cached::Unknown } else { dir.cached_child(name) }
}

/// Asks the file system for `name` in `dir`, and for the names in `rest` too: what lies there is put into `ahead`, the
/// nearest last.
fn ask(
    dir: &Arc<Dentry>,
    name: &[u8],
    rest: &[u8],
    caller: &Caller<'_>,
    ahead: &mut Run,
) -> Result<Option<Arc<Dentry>>> {
    let mut names: SmallVec<[&[u8]; 16]> = SmallVec::new();
    names.push(name);
    for name in rest.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        if name == b"." || name == b".." || names.len() == 16 || name.len() > abi::NAME_MAX {
            break;
        }
        names.push(name);
    }
    let mut run = dir.ask(&names, caller)?;
    run.reverse();
    let first = run.pop();
    *ahead = run;
    Ok(first)
}

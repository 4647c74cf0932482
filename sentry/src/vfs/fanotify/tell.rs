//! Which groups an event is for, and what they are told.

use std::sync::Arc;

use abi::fanotify::{FanInit, FanMask};
use abi::poll::PollEvents;
use smallvec::SmallVec;

use super::Group;
use super::ask::Question;
use super::event::{DirAndName, Event, Files, Pushed, Subject};
use super::mark::{Mark, Marks, NO_EVENTS};
use crate::Result;
use crate::task::{PidTrace, acting_process, acting_thread};
use crate::vfs::dentry::Dentry;
use crate::vfs::handle;
use crate::vfs::inode::Inode;
use crate::vfs::notify::Entry;
use crate::vfs::path::Path;

/// Events that are about a name in a directory.
const ENTRY_EVENTS: FanMask = FanMask::CREATE
    .union(FanMask::DELETE)
    .union(FanMask::MOVED_FROM)
    .union(FanMask::MOVED_TO)
    .union(FanMask::RENAME);

/// Groups that are told handles instead of files.
pub(super) const FIDS: FanInit = FanInit::REPORT_FID
    .union(FanInit::REPORT_DIR_FID)
    .union(FanInit::REPORT_NAME)
    .union(FanInit::REPORT_TARGET_FID);

/// Something that happens.
#[derive(Clone, Copy)]
pub(in crate::vfs) struct Happening<'a> {
    /// What; one bit, or FAN_OPEN and FAN_OPEN_EXEC.
    pub events: FanMask,
    /// Through which mount, if through one.
    pub path: Option<&'a Path>,
    /// To what.
    pub inode: &'a Arc<Inode>,
    /// By which name, where that is known.
    pub dentry: Option<&'a Arc<Dentry>>,
    /// Where that is; for events of entries, what happens to.
    pub entry: Option<Entry<'a>>,
    /// Whether those who watch files in that directory are told.
    pub told_above: bool,
    /// Where it was moved to (FAN_RENAME).
    pub moved_to: Option<Entry<'a>>,
}

impl<'a> Happening<'a> {
    /// Something about a file that has no name for it.
    pub fn of_inode(inode: &'a Arc<Inode>, events: FanMask) -> Self {
        let (path, dentry, entry, moved_to) = (None, None, None, None);
        Happening { events, path, inode, dentry, entry, told_above: false, moved_to }
    }

    /// A name comes or goes.
    pub fn of_entry(entry: Entry<'a>, inode: &'a Arc<Inode>, events: FanMask) -> Self {
        Happening { entry: Some(entry), ..Self::of_inode(inode, events) }
    }

    fn is_of_entry(&self) -> bool {
        self.events.intersects(ENTRY_EVENTS)
    }

    /// The marks that may be for it, and what they are on.
    fn marks(&self) -> SmallVec<[(On, Arc<Mark>); 8]> {
        let mut found = SmallVec::new();
        let mut collect = |on, marks: Option<&Marks>| {
            if let Some(marks) = marks.filter(|marks| marks.wants(self.events)) {
                found.extend(marks.all().into_iter().map(|mark| (on, mark)));
            }
        };
        collect(On::Mount, self.path.and_then(|path| path.mount.marks_if_any()));
        collect(On::FileSystem, self.inode.sb.marks_if_any());
        let above = self.entry.and_then(|entry| entry.dir.inode.marks_if_any());
        if self.is_of_entry() {
            collect(On::Inode, above);
            collect(On::SecondDir, self.moved_to.and_then(|entry| entry.dir.inode.marks_if_any()));
        } else {
            collect(On::Inode, self.inode.marks_if_any());
            collect(On::Parent, above.filter(|_| self.told_above));
        }
        found
    }
}

/// What a mark is on, as seen from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Mount,
    FileSystem,
    Inode,
    Parent,
    SecondDir,
}

/// A group that is told something.
struct Interested {
    group: Arc<Group>,
    /// What.
    mask: FanMask,
    /// Whether a mark on the (old) directory, the new one, or the file system wants it.
    matched: SmallVec<[On; 4]>,
}

/// Whether a mask is for what happens to a directory, or to a file in a watched one.
fn applies(mask: FanMask, on_dir: bool, on: On) -> bool {
    (!on_dir || mask.contains(FanMask::ONDIR)) && (on != On::Parent || mask.contains(FanMask::EVENT_ON_CHILD))
}

/// The groups that an event is for, by priority.
fn interested(what: &Happening<'_>) -> SmallVec<[Interested; 2]> {
    let marks = what.marks();
    let mut found: SmallVec<[Interested; 2]> = SmallVec::new();
    for (at, (_, mark)) in marks.iter().enumerate() {
        let is_its = |other: &&(On, Arc<Mark>)| other.1.group.ptr_eq(&mark.group);
        if marks[..at].iter().any(|other| is_its(&other)) {
            continue;
        }
        let Some(group) = mark.group.upgrade() else { continue };
        if let Some(interested) = of_group(group, what, marks[at..].iter().filter(is_its)) {
            found.push(interested);
        }
    }
    found.sort_by_key(|interested| std::cmp::Reverse(interested.group.priority()));
    found
}

fn of_group<'m>(
    group: Arc<Group>,
    what: &Happening<'_>,
    marks: impl Iterator<Item = &'m (On, Arc<Mark>)>,
) -> Option<Interested> {
    let on_dir = what.inode.is_dir();
    let fids = group.flags & FIDS;
    if fids.is_empty() {
        // Only files and directories are opened for the reader.
        if what.path.is_none() || !(what.inode.is_regular() || on_dir) {
            return None;
        }
    } else if !fids.contains(FanInit::REPORT_FID) && what.entry.is_none() && !on_dir {
        return None;
    }
    let (mut wanted, mut ignored, mut matched) = (FanMask::empty(), FanMask::empty(), SmallVec::new());
    for (on, mark) in marks {
        let state = mark.state();
        let ignores = state.ignores();
        if *on == On::Parent && !(state.mask | ignores).contains(FanMask::EVENT_ON_CHILD) {
            continue;
        }
        if what.events.contains(FanMask::MODIFY) {
            mark.changed();
        }
        let state = mark.state();
        let simple = !on_dir && *on != On::Parent;
        if !state.ignored.difference(NO_EVENTS).is_empty() && (simple || applies(ignores, on_dir, *on)) {
            ignored |= state.ignored - NO_EVENTS;
        }
        if applies(state.mask, on_dir, *on) {
            wanted |= state.mask;
            matched.push(*on);
        }
    }
    let mut mask = what.events & wanted & !ignored;
    if mask.is_empty() {
        return None;
    }
    if !fids.is_empty() && on_dir {
        mask |= FanMask::ONDIR;
    }
    Some(Interested { group, mask, matched })
}

/// What happens to a file, or is done through a path, and may be for those who watch its directory too.
pub(in crate::vfs) fn tell_with_parent(dentry: &Arc<Dentry>, path: Option<&Path>, events: FanMask) {
    with_parent(dentry, path, events, tell);
}

/// Calls `then` with what happens, if it may be for somebody.
fn with_parent<R: Default>(
    dentry: &Arc<Dentry>,
    path: Option<&Path>,
    events: FanMask,
    then: impl FnOnce(&Happening<'_>) -> R,
) -> R {
    let inode = &dentry.inode;
    let wants = |marks: Option<&Marks>| marks.is_some_and(|marks| marks.wants(events));
    let wanted = wants(inode.marks_if_any())
        || wants(inode.sb.marks_if_any())
        || wants(path.and_then(|path| path.mount.marks_if_any()));
    let above = dentry.with_place(|parent, name| {
        let parent = parent?;
        let told = parent.inode.marks_if_any().is_some_and(|marks| marks.wants_of_children(events));
        // The name of a directory is only for those who watch the one above.
        (told || (wanted && !inode.is_dir())).then(|| (Arc::clone(parent), crate::vfs::Name::new(name), told))
    });
    if !wanted && above.is_none() {
        return R::default();
    }
    let entry = above.as_ref().map(|(dir, name, _)| Entry { dir, name: name.as_bytes() });
    let told_above = above.as_ref().is_some_and(|above| above.2);
    then(&Happening { events, path, inode, dentry: Some(dentry), entry, told_above, moved_to: None })
}

/// Tells those whom it may concern.
pub(in crate::vfs) fn tell(what: &Happening<'_>) {
    for interested in interested(what) {
        let group = &interested.group;
        let Some(event) = event_for(&interested, what) else { continue };
        group.push(event);
    }
}

/// Asks those who have to permit what is about to be done at `place`: EPERM when one does not.
pub(in crate::vfs) fn ask(place: &Path, event: FanMask) -> Result<()> {
    let asked = with_parent(&place.dentry, Some(place), event, |what| Some(interested(what)));
    for interested in asked.into_iter().flatten() {
        interested.group.ask(place, interested.mask, pid_for(&interested.group))?;
    }
    Ok(())
}

fn pid_for(group: &Group) -> Option<PidTrace> {
    if group.flags.contains(FanInit::REPORT_TID) { acting_thread() } else { acting_process() }
}

fn event_for(interested: &Interested, what: &Happening<'_>) -> Option<Event> {
    let group = &interested.group;
    let fids = group.flags & FIDS;
    let subject = if fids.is_empty() {
        Subject::Path(what.path?.clone())
    } else {
        Subject::Files(Arc::new(files(fids, interested, what)))
    };
    Some(Event { mask: interested.mask, pid: pid_for(group), subject, question: None::<Arc<Question>> })
}

fn handle_of(entry: Entry<'_>, fids: FanInit) -> DirAndName {
    let name = fids.contains(FanInit::REPORT_NAME).then(|| Arc::from(entry.name));
    (handle::of_dentry(entry.dir), name)
}

/// The handle of what it happened to, which may be looked for by it later where there is a name.
fn own_handle(what: &Happening<'_>) -> super::event::Handle {
    match (what.dentry, what.entry) {
        (Some(dentry), _) => handle::of_dentry(dentry),
        (None, Some(entry)) if !what.events.intersects(FanMask::DELETE | FanMask::MOVED_FROM) => {
            handle::of_child(what.moved_to.unwrap_or(entry), what.inode)
        }
        _ => handle::bytes(what.inode),
    }
}

/// Which handles a group gets.
fn files(fids: FanInit, interested: &Interested, what: &Happening<'_>) -> Files {
    let mut files = Files { fsid: what.inode.sb.fsid(), ..Files::default() };
    let on_dir = what.inode.is_dir();
    let is_of_entry = what.is_of_entry();
    let wants_target = fids.contains(FanInit::REPORT_TARGET_FID);
    if what.events.contains(FanMask::RENAME) {
        // Each side is told to those who watch it.
        let by_all = interested.matched.contains(&On::FileSystem);
        let (old, new) =
            (interested.matched.contains(&On::Inode), interested.matched.contains(&On::SecondDir));
        files.dir = what.entry.filter(|_| by_all || old).map(|entry| handle_of(entry, fids));
        files.new_dir = what.moved_to.filter(|_| by_all || new).map(|entry| handle_of(entry, fids));
        files.file = wants_target.then(|| own_handle(what));
        return files;
    }
    let reports_dir = fids.contains(FanInit::REPORT_DIR_FID);
    match what.entry {
        Some(entry) if is_of_entry && !reports_dir => files.file = Some(handle::of_dentry(entry.dir)),
        Some(entry) if reports_dir && (is_of_entry || !on_dir) => {
            let dir = handle_of(entry, fids);
            let child = if is_of_entry { wants_target } else { fids.contains(FanInit::REPORT_FID) };
            files.file = child.then(|| own_handle(what));
            if dir.1.is_none() && files.file.is_none() {
                files.file = Some(dir.0);
            } else {
                files.dir = Some(dir);
            }
        }
        _ => files.file = Some(own_handle(what)),
    }
    files
}

impl Group {
    pub(super) fn push(&self, event: Event) -> Option<u64> {
        let pushed = self.queue.lock().push(event);
        let (number, is_news) = match &pushed {
            Pushed::Waits(number) => (Some(*number), true),
            Pushed::Merged(_) => (None, false),
            Pushed::Full(_, is_news) => (None, *is_news),
        };
        drop(pushed);
        if is_news {
            self.waiters.notify(PollEvents::IN | PollEvents::RDNORM);
        }
        number
    }
}

/// The last name of a file has gone, and nobody has it open: its marks end.
pub(in crate::vfs) fn gone(inode: &Arc<Inode>) {
    tell(&Happening::of_inode(inode, FanMask::DELETE_SELF));
    if let Some(marks) = inode.marks_if_any() {
        marks.end_all();
    }
}

/// Whether [`gone`] has something to do.
pub(in crate::vfs) fn cares_for_the_end_of(inode: &Inode) -> bool {
    let of_all = inode.sb.marks_if_any();
    inode.marks_if_any().is_some() || of_all.is_some_and(|marks| marks.wants(FanMask::DELETE_SELF))
}

//! Epoll sets that watch epoll sets: no loops, no deep nests, no explosion of wake-ups.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Mutex, MutexGuard};

use super::{Epoll, Set};

/// How deep sets may nest.
const MAX_NESTS: usize = 4;
/// How many sets, counted by path, one event may wake through a nested set.
const MAX_PATHS: usize = 1000;

/// Held while a set is added to a set.
static TREE: Mutex<(), sync::levels::EpollTree> = Mutex::new(());

/// Whether `parent` may watch `child`: ELOOP for a loop or a nest that is too deep, EINVAL for too many paths. The
/// answer holds as long as the guard.
pub(super) fn check(
    parent: &Arc<Set>,
    child: &Arc<Set>,
) -> Result<MutexGuard<'static, (), sync::levels::EpollTree>, Errno> {
    let guard = TREE.lock();
    let mut seen = HashMap::new();
    let below = depth_below(child, parent, 0, &mut seen).ok_or(Errno::ELOOP)?;
    let above = depth_above(parent, 0).ok_or(Errno::ELOOP)?;
    if below + 1 + above > MAX_NESTS {
        return Err(Errno::ELOOP);
    }
    // The new edge gives every set below as many paths more as lead up from the parent, at least.
    let mut known = HashMap::new();
    let more = paths_above(parent, &mut known);
    let mut below = HashSet::new();
    collect_below(child, &mut below);
    if more.saturating_mul(below.len()) + paths_above(child, &mut known) > MAX_PATHS {
        return Err(Errno::EINVAL);
    }
    Ok(guard)
}

fn id(set: &Arc<Set>) -> usize {
    Arc::as_ptr(set) as usize
}

fn children(set: &Arc<Set>) -> Vec<Arc<Set>> {
    let ids: Vec<_> = set.items.lock().values().copied().collect();
    let files = ids.into_iter().filter_map(|id| set.ready.file(id)?.upgrade());
    files.filter_map(|file| file.downcast::<Epoll>().map(|epoll| Arc::clone(&epoll.set))).collect()
}

fn parents(set: &Arc<Set>) -> Vec<Arc<Set>> {
    let mut parents = set.parents.lock();
    parents.retain(|p| p.strong_count() > 0);
    let parents: Vec<Weak<Set>> = parents.clone();
    parents.iter().filter_map(Weak::upgrade).collect()
}

/// How deep the nest below `set` is; `None` when it holds `forbidden` or is too deep.
fn depth_below(
    set: &Arc<Set>,
    forbidden: &Arc<Set>,
    level: usize,
    seen: &mut HashMap<usize, usize>,
) -> Option<usize> {
    if let Some(depth) = seen.get(&id(set)) {
        return Some(*depth);
    }
    if Arc::ptr_eq(set, forbidden) || level > MAX_NESTS {
        return None;
    }
    let mut depth = 0;
    for child in children(set) {
        depth = depth.max(depth_below(&child, forbidden, level + 1, seen)? + 1);
    }
    seen.insert(id(set), depth);
    Some(depth)
}

fn depth_above(set: &Arc<Set>, level: usize) -> Option<usize> {
    if level > MAX_NESTS {
        return None;
    }
    let mut depth = 0;
    for parent in parents(set) {
        depth = depth.max(depth_above(&parent, level + 1)? + 1);
    }
    Some(depth)
}

/// How many ways lead up from `set`, itself included.
fn paths_above(set: &Arc<Set>, known: &mut HashMap<usize, usize>) -> usize {
    if let Some(paths) = known.get(&id(set)) {
        return *paths;
    }
    let paths = parents(set).iter().fold(1usize, |sum, p| sum.saturating_add(paths_above(p, known)));
    known.insert(id(set), paths);
    paths
}

fn collect_below(set: &Arc<Set>, below: &mut HashSet<usize>) {
    if below.insert(id(set)) {
        for child in children(set) {
            collect_below(&child, below);
        }
    }
}

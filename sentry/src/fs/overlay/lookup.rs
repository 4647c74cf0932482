//! Which layers have a name.

use std::sync::Arc;

use abi::Errno;

use super::layer::{Home, is_whiteout, is_whiteout_attr, walk};
use super::node::{Lowers, OverlayNode, node};
use super::options::Redirects;
use super::{Key, Overlay, overlay_of};
use crate::Result;
use crate::vfs::{Attr, Inode, LookupRun, Name, Peeked};

/// Finds `names`, each in the one before, from `dir` on. Each lower layer is asked once for the whole run.
pub fn lookup_run(dir: &Arc<Inode>, names: &[&[u8]]) -> Result<LookupRun> {
    let overlay = overlay_of(&dir.sb)?;
    let mut run = LookupRun::default();
    // Lower layers are asked when the upper one does not settle it, and then for all that is left.
    let mut ahead: Vec<Ahead> = Vec::new();
    let mut dir = Arc::clone(dir);
    for (at, name) in names.iter().enumerate() {
        if !dir.is_dir() {
            break;
        }
        let found = match lookup_one(overlay, &dir, &names[at..], &mut ahead) {
            Ok(found) => found,
            Err(errno) if run.found.is_empty() => return Err(errno),
            Err(_) => break,
        };
        let home = Home { dir: Arc::clone(&dir), name: Name::new(name) };
        let child = match found {
            None => {
                run.missing = true;
                break;
            }
            Some(Found::Listed(layer, attr)) => OverlayNode::listed(&dir.sb, overlay, layer, &attr, home),
            Some(Found::Inodes(upper, lowers, redirect)) => {
                OverlayNode::inode(&dir.sb, overlay, upper, lowers, Some(home), redirect)?
            }
        };
        run.found.push(Arc::clone(&child));
        dir = child;
    }
    Ok(run)
}

/// The attributes of what only a lower layer has under `name` in `dir`, where that layer knows them without an inode, and so
/// whoever has one of the overlay has not needed more of it.
pub fn peek(dir: &Arc<Inode>, name: &[u8]) -> Peeked {
    let (Ok(overlay), Ok(dir)) = (overlay_of(&dir.sb), node(dir)) else { return Peeked::Unknown };
    if let Some(upper) = dir.upper.get()
        && !matches!(upper.ops().lookup(upper, name, &overlay.caller()), Ok(None))
    {
        return Peeked::Unknown;
    }
    for (layer, lower) in dir.lowers() {
        match lower.ops().peek(lower, name) {
            Peeked::Missing => {}
            Peeked::There(attr) if !is_whiteout_attr(&attr) => {
                let ino = overlay.number(Key::Lower(*layer, attr.ino));
                return Peeked::There(Attr { ino, ..attr });
            }
            Peeked::There(_) | Peeked::Unknown => return Peeked::Unknown,
        }
    }
    Peeked::Missing
}

/// What a lower layer has answered for the names ahead.
struct Ahead {
    layer: u16,
    /// The directory in which the next name was looked up.
    dir: Arc<Inode>,
    /// What was found, the nearest last.
    found: Vec<Arc<Inode>>,
    missing: bool,
}

/// What the layers have under a name.
enum Found {
    /// These inodes. With the path of the lower ones, where that is not the one of the name.
    Inodes(Option<Arc<Inode>>, Lowers, Option<Arc<[u8]>>),
    /// What only this layer has, with these attributes. There is no inode of it, and this is its only name.
    Listed(u16, Attr),
}

/// What a layer has under a name.
enum Asked {
    Inode(Arc<Inode>),
    Listed(Attr),
    Missing,
}

/// What the layers have under `names[0]` in `dir`.
fn lookup_one(
    overlay: &Overlay,
    dir: &Arc<Inode>,
    names: &[&[u8]],
    ahead: &mut Vec<Ahead>,
) -> Result<Option<Found>> {
    let caller = overlay.caller();
    let dir_node = node(dir)?;
    let name = names[0];
    let mut upper = None;
    if let Some(upper_dir) = dir_node.upper.get()
        && let Some(found) = upper_dir.ops().lookup(upper_dir, name, &caller)?
    {
        if is_whiteout(&found) {
            return Ok(None);
        }
        if !found.is_dir() {
            return Ok(Some(Found::Inodes(Some(found), Lowers::new(), None)));
        }
        if dir_node.lowers().is_empty() && overlay.marks.redirect(&found).is_none()
            || overlay.marks.is_opaque(&found)
        {
            return Ok(Some(Found::Inodes(Some(found), Lowers::new(), None)));
        }
        if let Some(to) = overlay.marks.redirect(&found) {
            if overlay.redirects == Redirects::Refused {
                return Err(Errno::EPERM);
            }
            ahead.clear();
            return redirected(overlay, dir_node, found, &to).map(Some);
        }
        upper = Some(found);
    }
    let mut lowers = Lowers::new();
    for (layer, lower_dir) in dir_node.lowers() {
        let may_list = upper.is_none() && lowers.is_empty() && !dir.sb.revalidate();
        let found = match ask(overlay, *layer, lower_dir, names, may_list, ahead)? {
            Asked::Missing => continue,
            Asked::Listed(attr) => return Ok(Some(Found::Listed(*layer, attr))),
            Asked::Inode(found) => found,
        };
        if is_whiteout(&found) {
            break;
        }
        if !found.is_dir() {
            if upper.is_none() && lowers.is_empty() {
                lowers.push((*layer, found));
            }
            break;
        }
        // In the lowest layer there is nothing left to hide.
        let last = usize::from(*layer) + 1 == overlay.lowers.len();
        let opaque = !last && overlay.marks.is_opaque(&found);
        lowers.push((*layer, found));
        if opaque {
            break;
        }
    }
    if upper.is_none() && lowers.is_empty() {
        return Ok(None);
    }
    Ok(Some(Found::Inodes(upper, lowers, None)))
}

/// What layer `layer` has under `names[0]` in `dir`; where `may_list`, an inode of it is not needed.
fn ask(
    overlay: &Overlay,
    layer: u16,
    dir: &Arc<Inode>,
    names: &[&[u8]],
    may_list: bool,
    ahead: &mut Vec<Ahead>,
) -> Result<Asked> {
    if let Some(known) = ahead.iter_mut().find(|known| known.layer == layer && Arc::ptr_eq(&known.dir, dir)) {
        match known.found.pop() {
            Some(found) => {
                known.dir = Arc::clone(&found);
                return Ok(Asked::Inode(found));
            }
            None if known.missing => return Ok(Asked::Missing),
            None => {}
        }
    }
    ahead.retain(|known| known.layer != layer);
    if !dir.is_dir() {
        return Ok(Asked::Missing);
    }
    if may_list {
        match dir.ops().peek(dir, names[0]) {
            Peeked::There(attr) if attr.nlink == 1 && !is_whiteout_attr(&attr) => {
                return Ok(Asked::Listed(attr));
            }
            Peeked::Missing => return Ok(Asked::Missing),
            Peeked::There(_) | Peeked::Unknown => {}
        }
    }
    let run = dir.ops().lookup_run(dir, names, &overlay.caller())?;
    let mut found: Vec<Arc<Inode>> = run.found.into_vec();
    found.reverse();
    let first = found.pop();
    let dir = first.as_ref().unwrap_or(dir);
    ahead.push(Ahead { layer, dir: Arc::clone(dir), found, missing: run.missing });
    Ok(first.map_or(Asked::Missing, Asked::Inode))
}

/// An upper directory that was moved: its lower ones are elsewhere.
fn redirected(overlay: &Overlay, dir: &OverlayNode, upper: Arc<Inode>, to: &[u8]) -> Result<Found> {
    let caller = overlay.caller();
    let mut lowers = Lowers::new();
    let absolute = to.first() == Some(&b'/');
    let starts: Lowers = if absolute {
        let layers = overlay.lowers.iter().enumerate();
        layers.map(|(layer, it)| (layer as u16, Arc::clone(&it.root.inode))).collect()
    } else {
        Lowers::from(dir.lowers())
    };
    for (layer, start) in starts {
        let Some(found) = walk(&start, to, &caller)? else { continue };
        if !found.is_dir() || is_whiteout(&found) {
            break;
        }
        let last = usize::from(layer) + 1 == overlay.lowers.len();
        let opaque = !last && overlay.marks.is_opaque(&found);
        lowers.push((layer, found));
        if opaque {
            break;
        }
    }
    let path = if absolute { Some(Arc::from(to)) } else { None };
    Ok(Found::Inodes(Some(upper), lowers, path))
}

/// Whether a lower layer shows `name` in `dir`: then taking it away needs a whiteout.
pub fn is_below(overlay: &Overlay, dir: &OverlayNode, name: &[u8]) -> Result<bool> {
    for (_, lower) in dir.lowers() {
        if let Some(found) = lower.ops().lookup(lower, name, &overlay.caller())? {
            return Ok(!is_whiteout(&found));
        }
    }
    Ok(false)
}

/// The path of `dir`'s lower directories from the roots of their layers.
pub fn lower_path(dir: &Arc<Inode>) -> Result<Vec<u8>> {
    let mut names: Vec<Name> = Vec::new();
    let mut at = Arc::clone(dir);
    let mut start = Vec::new();
    loop {
        let node = node(&at)?;
        if let Some(path) = node.redirect() {
            start = path.to_vec();
            break;
        }
        let home = node.home.lock().clone();
        let Some(home) = home else { break };
        names.push(home.name);
        at = home.dir;
    }
    for name in names.iter().rev() {
        start.push(b'/');
        start.extend_from_slice(name.as_bytes());
    }
    Ok(start)
}

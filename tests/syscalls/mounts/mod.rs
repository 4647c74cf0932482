//! The mount tree: mount(2) and its kin, the calls that mount in steps, and what tells of mounts.

mod binds;
mod contexts;
mod less_privileged;
mod mount_flags;
mod mount_queries;
mod mount_setattr;
mod pivot;
mod propagation;
mod trees;
mod unmount;

use std::ffi::{CStr, CString};

use crate::kit::prelude::*;

/// A mount namespace of one's own, in which nothing spreads.
#[track_caller]
pub fn own_mounts() {
    match sys!(unshare, CLONE_NEWNS) {
        Ok(_) => {}
        Err(e) => skip(format_args!("no mount namespace of one's own: {e:?}")),
    }
    ok(sys!(mount, 0, c"/", 0, MS_REC | MS_PRIVATE, 0));
}

/// Makes a directory and mounts a new tmpfs on it.
#[track_caller]
pub fn tmpfs(at: &CStr) {
    mkdir(at);
    ok(sys!(mount, c"none", at, c"tmpfs", 0, 0));
}

/// Makes a directory and binds `from` to it.
#[track_caller]
pub fn bind(from: &CStr, to: &CStr) {
    mkdir(to);
    ok(sys!(mount, from, to, 0, MS_BIND, 0));
}

/// Changes how a mount spreads.
#[track_caller]
pub fn spread(at: &CStr, how: u64) {
    ok(sys!(mount, 0, at, 0, how, 0));
}

/// A line of mountinfo: id, parent, root, point, options, optional fields, kind, source, super options.
pub struct Line {
    pub id: u64,
    pub parent: u64,
    pub root: String,
    pub options: String,
    pub fields: Vec<String>,
    pub kind: String,
    pub source: String,
}

/// The lines of mountinfo for this place, given by its name in the scratch directory, the topmost last.
#[track_caller]
pub fn info(name: &str) -> Vec<Line> {
    let at = absolute(name);
    let at = at.to_str().unwrap_or("").to_owned();
    let lines = text(c"/proc/self/mountinfo");
    lines.lines().filter_map(|line| parse(line, &at)).collect()
}

fn parse(line: &str, at: &str) -> Option<Line> {
    let (front, back) = line.split_once(" - ")?;
    let front: Vec<&str> = front.split(' ').collect();
    let back: Vec<&str> = back.split(' ').collect();
    if front.get(4) != Some(&at) {
        return None;
    }
    Some(Line {
        id: front.first()?.parse().ok()?,
        parent: front.get(1)?.parse().ok()?,
        root: (*front.get(3)?).to_owned(),
        options: (*front.get(5)?).to_owned(),
        fields: front[6..].iter().map(|f| (*f).to_owned()).collect(),
        kind: (*back.first()?).to_owned(),
        source: (*back.get(1)?).to_owned(),
    })
}

/// The one line of mountinfo for this place.
#[track_caller]
pub fn the_info(name: &str) -> Line {
    let mut lines = info(name);
    match (lines.pop(), lines.len()) {
        (Some(line), 0) => line,
        (_, more) => fail(format_args!("{name}: {} lines of mountinfo", more + 1)),
    }
}

/// Whether something is mounted on this place.
pub fn is_mounted(name: &str) -> bool {
    !info(name).is_empty()
}

/// A name as a C string.
pub fn c(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

//! User namespaces (user_namespaces(7)): who owns it, and how ids look from inside.

use std::sync::Arc;

use sync::Mutex;

/// The id shown for ids that have no mapping (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_ID: u32 = 65534;

/// One line of `uid_map` or `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdExtent {
    /// First id inside.
    pub inside: u32,
    /// First id in the sandbox's first namespace.
    pub kernel: u32,
    /// How many.
    pub count: u32,
}

/// A user namespace.
#[derive(Debug)]
pub struct UserNamespace {
    /// Unique; what /proc/PID/ns/user shows.
    pub id: u64,
    parent: Option<Arc<UserNamespace>>,
    owner: u32,
    maps: Mutex<IdMaps, sync::levels::Leaf>,
}

#[derive(Debug, Default)]
struct IdMaps {
    uid: Vec<IdExtent>,
    gid: Vec<IdExtent>,
    setgroups_denied: bool,
}

const IDENTITY: IdExtent = IdExtent { inside: 0, kernel: 0, count: u32::MAX };

impl UserNamespace {
    /// The first one: every id is itself.
    pub fn initial() -> Arc<UserNamespace> {
        let maps = IdMaps { uid: vec![IDENTITY], gid: vec![IDENTITY], setgroups_denied: false };
        Arc::new(UserNamespace { id: 0xefff_fffd, parent: None, owner: 0, maps: Mutex::new(maps) })
    }

    /// One below `parent`, without mappings yet. `owner` is the creator's effective user id.
    pub fn new(id: u64, parent: &Arc<UserNamespace>, owner: u32) -> Arc<UserNamespace> {
        Arc::new(UserNamespace { id, parent: Some(Arc::clone(parent)), owner, maps: Mutex::default() })
    }

    /// The namespace it was made in.
    pub fn parent(&self) -> Option<&Arc<UserNamespace>> {
        self.parent.as_ref()
    }

    /// Effective user id of who made it.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// A user id as members see it; [`OVERFLOW_ID`] without a mapping.
    pub fn uid_inside(&self, kernel: u32) -> u32 {
        inside(&self.maps.lock().uid, kernel).unwrap_or(OVERFLOW_ID)
    }

    /// A group id as members see it; [`OVERFLOW_ID`] without a mapping.
    pub fn gid_inside(&self, kernel: u32) -> u32 {
        inside(&self.maps.lock().gid, kernel).unwrap_or(OVERFLOW_ID)
    }

    /// The user id that a member means; `None` without a mapping (EINVAL).
    pub fn uid_kernel(&self, id: u32) -> Option<u32> {
        kernel(&self.maps.lock().uid, id)
    }

    /// The group id that a member means; `None` without a mapping (EINVAL).
    pub fn gid_kernel(&self, id: u32) -> Option<u32> {
        kernel(&self.maps.lock().gid, id)
    }

    /// Lines of `uid_map`.
    pub fn uid_map(&self) -> Vec<IdExtent> {
        self.maps.lock().uid.clone()
    }

    /// Lines of `gid_map`.
    pub fn gid_map(&self) -> Vec<IdExtent> {
        self.maps.lock().gid.clone()
    }

    /// Sets `uid_map`, once. The caller has checked the rules of user_namespaces(7).
    pub fn set_uid_map(&self, map: Vec<IdExtent>) -> bool {
        let mut maps = self.maps.lock();
        maps.uid.is_empty() && {
            maps.uid = map;
            true
        }
    }

    /// Sets `gid_map`, once.
    pub fn set_gid_map(&self, map: Vec<IdExtent>) -> bool {
        let mut maps = self.maps.lock();
        maps.gid.is_empty() && {
            maps.gid = map;
            true
        }
    }

    /// Whether setgroups(2) is allowed: a gid_map is there and `setgroups` does not say `deny`.
    pub fn may_setgroups(&self) -> bool {
        let maps = self.maps.lock();
        !maps.gid.is_empty() && !maps.setgroups_denied
    }

    /// Whether `setgroups` says `deny`.
    pub fn setgroups_denied(&self) -> bool {
        self.maps.lock().setgroups_denied
    }

    /// Writes `deny` or `allow` to `setgroups`; false when it is too late for that.
    pub fn set_setgroups(&self, deny: bool) -> bool {
        let mut maps = self.maps.lock();
        if deny && !maps.gid.is_empty() && !maps.setgroups_denied {
            return false;
        }
        if !deny && maps.setgroups_denied {
            return false;
        }
        maps.setgroups_denied = deny;
        true
    }
}

fn inside(map: &[IdExtent], id: u32) -> Option<u32> {
    let hit = map.iter().find(|e| id >= e.kernel && id - e.kernel < e.count)?;
    Some(hit.inside + (id - hit.kernel))
}

fn kernel(map: &[IdExtent], id: u32) -> Option<u32> {
    let hit = map.iter().find(|e| id >= e.inside && id - e.inside < e.count)?;
    Some(hit.kernel + (id - hit.inside))
}

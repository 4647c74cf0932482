//! Credentials: ids, groups and capabilities of a task (credentials(7), capabilities(7)).
//!
//! Immutable once made; a task that changes its own makes a new one. Ids are those of the sandbox's first user
//! namespace (kuid/kgid of Linux); a [`UserNamespace`] translates them for its members.

use std::sync::Arc;

use abi::capability::CapSet;

use super::UserNamespace;

/// Who a task is. Compare Linux's `struct cred`.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// User id for file access.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// Group id for file access.
    pub fsgid: u32,
    /// Supplementary groups, sorted.
    pub groups: Arc<[u32]>,
    /// Capabilities that may be made effective.
    pub cap_permitted: CapSet,
    /// Capabilities in force.
    pub cap_effective: CapSet,
    /// Capabilities kept over exec of files that inherit them.
    pub cap_inheritable: CapSet,
    /// Upper bound of what exec can give.
    pub cap_bounding: CapSet,
    /// Capabilities kept over exec of plain files.
    pub cap_ambient: CapSet,
    /// `SECBIT_*` of prctl(PR_SET_SECUREBITS).
    pub securebits: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// The namespace these ids and capabilities belong to.
    pub user_ns: Arc<UserNamespace>,
}

impl Credentials {
    /// A user with all ids equal; root gets every capability.
    pub fn for_user(uid: u32, gid: u32, groups: &[u32], user_ns: Arc<UserNamespace>) -> Credentials {
        let mut groups: Vec<u32> = groups.to_vec();
        groups.sort_unstable();
        groups.dedup();
        let caps = if uid == 0 { CapSet::ALL } else { CapSet::EMPTY };
        Credentials {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups: groups.into(),
            cap_permitted: caps,
            cap_effective: caps,
            cap_inheritable: CapSet::EMPTY,
            cap_bounding: CapSet::ALL,
            cap_ambient: CapSet::EMPTY,
            securebits: 0,
            no_new_privs: false,
            user_ns,
        }
    }

    /// The same user as a member of `user_ns`, with all capabilities there.
    pub fn all_capabilities_in(&self, user_ns: Arc<UserNamespace>) -> Credentials {
        Credentials {
            user_ns,
            cap_permitted: CapSet::ALL,
            cap_effective: CapSet::ALL,
            cap_bounding: CapSet::ALL,
            cap_inheritable: CapSet::EMPTY,
            cap_ambient: CapSet::EMPTY,
            securebits: 0,
            ..self.clone()
        }
    }

    /// Whether capability number `cap` (`abi::capability::CAP_*`) is in force in the own user namespace.
    pub fn has_cap(&self, cap: u32) -> bool {
        self.cap_effective.contains(cap)
    }

    /// Whether `cap` is in force towards objects of `target`: in it or an ancestor, or as the owner of it.
    pub fn has_cap_in(&self, cap: u32, target: &Arc<UserNamespace>) -> bool {
        let mut ns = target;
        loop {
            if Arc::ptr_eq(ns, &self.user_ns) {
                return self.has_cap(cap);
            }
            let Some(parent) = ns.parent() else { return false };
            // The owner of a namespace has every capability in it, seen from the parent.
            if Arc::ptr_eq(parent, &self.user_ns) && ns.owner() == self.euid {
                return true;
            }
            ns = parent;
        }
    }

    /// Whether these credentials can do already what `new` can (cred_cap_issubset of Linux): no more is permitted in the
    /// same user namespace, or the effective user owns that of `new` or one that it is in.
    pub fn covers(&self, new: &Credentials) -> bool {
        if Arc::ptr_eq(&self.user_ns, &new.user_ns) {
            return self.cap_permitted.contains_all(new.cap_permitted);
        }
        let mut ns = &new.user_ns;
        while let Some(parent) = ns.parent() {
            if Arc::ptr_eq(parent, &self.user_ns) && ns.owner() == self.euid {
                return true;
            }
            ns = parent;
        }
        false
    }

    /// Whether `gid` is the group id for file access or one of the supplementary ones.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.binary_search(&gid).is_ok()
    }

    /// As [`in_group`](Self::in_group), by the effective group id.
    pub fn in_egroup(&self, gid: u32) -> bool {
        self.egid == gid || self.groups.binary_search(&gid).is_ok()
    }
}

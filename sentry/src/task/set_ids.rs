//! How a task may change its ids and capabilities (setuid(2), setgroups(2), capset(2), capabilities(7)).
//!
//! Each method gives new credentials or an error and changes nothing; [`CurrentTask::commit_creds`] puts them in force.
//! Ids are those of the sandbox's first user namespace.

use abi::Errno;
use abi::capability::{
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_LAST_CAP,
    CAP_LINUX_IMMUTABLE, CAP_MAC_OVERRIDE, CAP_MKNOD, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CapSet,
    SecureBits,
};

use super::{Credentials, CurrentTask};

/// Capabilities that follow the user id for file access.
const FILE_CAPS: CapSet = CapSet::of(&[
    CAP_CHOWN,
    CAP_MKNOD,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
    CAP_MAC_OVERRIDE,
    CAP_LINUX_IMMUTABLE,
]);

/// Which of the calls changes user ids: capabilities follow by different rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Real, effective or saved.
    Ids,
    /// For file access only.
    FileAccess,
}

impl Credentials {
    /// setuid(2).
    pub fn with_uid(&self, uid: u32) -> Result<Credentials, Errno> {
        let mut new = self.clone();
        if self.has_cap(CAP_SETUID) {
            new.uid = uid;
            new.suid = uid;
        } else if uid != self.uid && uid != self.suid {
            return Err(Errno::EPERM);
        }
        new.euid = uid;
        new.fsuid = uid;
        Ok(new.caps_follow(self, Change::Ids))
    }

    /// setreuid(2).
    pub fn with_reuid(&self, ruid: Option<u32>, euid: Option<u32>) -> Result<Credentials, Errno> {
        let mut new = self.clone();
        let cap = self.has_cap(CAP_SETUID);
        if let Some(ruid) = ruid {
            if !cap && ![self.uid, self.euid].contains(&ruid) {
                return Err(Errno::EPERM);
            }
            new.uid = ruid;
        }
        if let Some(euid) = euid {
            if !cap && ![self.uid, self.euid, self.suid].contains(&euid) {
                return Err(Errno::EPERM);
            }
            new.euid = euid;
        }
        if ruid.is_some() || euid.is_some_and(|euid| euid != self.uid) {
            new.suid = new.euid;
        }
        new.fsuid = new.euid;
        Ok(new.caps_follow(self, Change::Ids))
    }

    /// setresuid(2).
    pub fn with_resuid(
        &self,
        ruid: Option<u32>,
        euid: Option<u32>,
        suid: Option<u32>,
    ) -> Result<Credentials, Errno> {
        let own = [self.uid, self.euid, self.suid];
        let foreign = |id: Option<u32>| id.is_some_and(|id| !own.contains(&id));
        if (foreign(ruid) || foreign(euid) || foreign(suid)) && !self.has_cap(CAP_SETUID) {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.uid = ruid.unwrap_or(new.uid);
        new.euid = euid.unwrap_or(new.euid);
        new.suid = suid.unwrap_or(new.suid);
        new.fsuid = new.euid;
        Ok(new.caps_follow(self, Change::Ids))
    }

    /// setfsuid(2); `None` where it is not allowed, which the caller is not told.
    pub fn with_fsuid(&self, uid: u32) -> Option<Credentials> {
        if ![self.uid, self.euid, self.suid, self.fsuid].contains(&uid) && !self.has_cap(CAP_SETUID) {
            return None;
        }
        let new = Credentials { fsuid: uid, ..self.clone() };
        Some(new.caps_follow(self, Change::FileAccess))
    }

    /// setgid(2).
    pub fn with_gid(&self, gid: u32) -> Result<Credentials, Errno> {
        let mut new = self.clone();
        if self.has_cap(CAP_SETGID) {
            new.gid = gid;
            new.sgid = gid;
        } else if gid != self.gid && gid != self.sgid {
            return Err(Errno::EPERM);
        }
        new.egid = gid;
        new.fsgid = gid;
        Ok(new)
    }

    /// setregid(2).
    pub fn with_regid(&self, rgid: Option<u32>, egid: Option<u32>) -> Result<Credentials, Errno> {
        let mut new = self.clone();
        let cap = self.has_cap(CAP_SETGID);
        if let Some(rgid) = rgid {
            if !cap && ![self.gid, self.egid].contains(&rgid) {
                return Err(Errno::EPERM);
            }
            new.gid = rgid;
        }
        if let Some(egid) = egid {
            if !cap && ![self.gid, self.egid, self.sgid].contains(&egid) {
                return Err(Errno::EPERM);
            }
            new.egid = egid;
        }
        if rgid.is_some() || egid.is_some_and(|egid| egid != self.gid) {
            new.sgid = new.egid;
        }
        new.fsgid = new.egid;
        Ok(new)
    }

    /// setresgid(2).
    pub fn with_resgid(
        &self,
        rgid: Option<u32>,
        egid: Option<u32>,
        sgid: Option<u32>,
    ) -> Result<Credentials, Errno> {
        let own = [self.gid, self.egid, self.sgid];
        let foreign = |id: Option<u32>| id.is_some_and(|id| !own.contains(&id));
        if (foreign(rgid) || foreign(egid) || foreign(sgid)) && !self.has_cap(CAP_SETGID) {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.gid = rgid.unwrap_or(new.gid);
        new.egid = egid.unwrap_or(new.egid);
        new.sgid = sgid.unwrap_or(new.sgid);
        new.fsgid = new.egid;
        Ok(new)
    }

    /// setfsgid(2); `None` where it is not allowed, which the caller is not told.
    pub fn with_fsgid(&self, gid: u32) -> Option<Credentials> {
        if ![self.gid, self.egid, self.sgid, self.fsgid].contains(&gid) && !self.has_cap(CAP_SETGID) {
            return None;
        }
        Some(Credentials { fsgid: gid, ..self.clone() })
    }

    /// Whether setgroups(2) is allowed.
    pub fn may_set_groups(&self) -> bool {
        self.has_cap(CAP_SETGID) && self.user_ns.may_setgroups()
    }

    /// setgroups(2), after [`may_set_groups`](Self::may_set_groups).
    pub fn with_groups(&self, mut groups: Vec<u32>) -> Credentials {
        groups.sort_unstable();
        Credentials { groups: groups.into(), ..self.clone() }
    }

    /// capset(2): permitted ones can only be given up, inheritable ones be taken from permitted (or, with CAP_SETPCAP,
    /// bounding) ones.
    pub fn with_caps(
        &self,
        effective: CapSet,
        permitted: CapSet,
        inheritable: CapSet,
    ) -> Result<Credentials, Errno> {
        let may_inherit = self.cap_inheritable.union(self.cap_permitted);
        if !self.has_cap(CAP_SETPCAP) && !may_inherit.contains_all(inheritable) {
            return Err(Errno::EPERM);
        }
        if !self.cap_inheritable.union(self.cap_bounding).contains_all(inheritable)
            || !self.cap_permitted.contains_all(permitted)
            || !permitted.contains_all(effective)
        {
            return Err(Errno::EPERM);
        }
        Ok(Credentials {
            cap_effective: effective,
            cap_permitted: permitted,
            cap_inheritable: inheritable,
            cap_ambient: self.cap_ambient.intersection(permitted).intersection(inheritable),
            ..self.clone()
        })
    }

    /// PR_CAPBSET_DROP.
    pub fn without_bounding(&self, cap: u32) -> Result<Credentials, Errno> {
        if !self.has_cap(CAP_SETPCAP) {
            return Err(Errno::EPERM);
        }
        if cap > CAP_LAST_CAP {
            return Err(Errno::EINVAL);
        }
        let mut new = self.clone();
        new.cap_bounding.remove(cap);
        Ok(new)
    }

    /// PR_SET_SECUREBITS.
    pub fn with_securebits(&self, bits: u64) -> Result<Credentials, Errno> {
        let Some(new) = u32::try_from(bits).ok().and_then(SecureBits::from_bits) else {
            return Err(Errno::EPERM);
        };
        let old = SecureBits::from_bits_retain(self.securebits);
        // A lock bit is the one above the bit it locks.
        let locked = old.bits() & LOCKS.bits();
        let changed = old.bits() ^ new.bits();
        let unlocks = locked & !new.bits() != 0;
        let changes_locked = changed & (locked >> 1) != 0;
        // EXEC_* may be changed by anyone, unless locked.
        let free = EXEC_BITS.bits() | (EXEC_BITS.bits() << 1);
        let privileged = changed & !free != 0;
        if unlocks || changes_locked || privileged && !self.has_cap(CAP_SETPCAP) {
            return Err(Errno::EPERM);
        }
        Ok(Credentials { securebits: new.bits(), ..self.clone() })
    }

    /// PR_GET_KEEPCAPS.
    pub fn keeps_caps(&self) -> bool {
        SecureBits::from_bits_retain(self.securebits).contains(SecureBits::KEEP_CAPS)
    }

    /// PR_SET_KEEPCAPS.
    pub fn with_keep_caps(&self, keep: bool) -> Result<Credentials, Errno> {
        let mut bits = SecureBits::from_bits_retain(self.securebits);
        if bits.contains(SecureBits::KEEP_CAPS_LOCKED) {
            return Err(Errno::EPERM);
        }
        bits.set(SecureBits::KEEP_CAPS, keep);
        Ok(Credentials { securebits: bits.bits(), ..self.clone() })
    }

    /// PR_CAP_AMBIENT_RAISE.
    pub fn with_ambient(&self, cap: u32) -> Result<Credentials, Errno> {
        let forbidden =
            SecureBits::from_bits_retain(self.securebits).contains(SecureBits::NO_CAP_AMBIENT_RAISE);
        if !self.cap_permitted.contains(cap) || !self.cap_inheritable.contains(cap) || forbidden {
            return Err(Errno::EPERM);
        }
        let mut new = self.clone();
        new.cap_ambient.add(cap);
        Ok(new)
    }

    /// Capabilities after a change of user ids (cap_task_fix_setuid of Linux).
    fn caps_follow(mut self, old: &Credentials, change: Change) -> Credentials {
        let securebits = SecureBits::from_bits_retain(old.securebits);
        if securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            return self;
        }
        // An unmapped root is nobody: no id equals it.
        let root = old.user_ns.uid_kernel(0);
        let is_root = |id: u32| Some(id) == root;
        match change {
            Change::Ids => {
                let was = is_root(old.uid) || is_root(old.euid) || is_root(old.suid);
                let is = is_root(self.uid) || is_root(self.euid) || is_root(self.suid);
                if was && !is {
                    if !securebits.contains(SecureBits::KEEP_CAPS) {
                        self.cap_permitted = CapSet::EMPTY;
                        self.cap_effective = CapSet::EMPTY;
                    }
                    // Programs that do not know of ambient ones give capabilities up this way.
                    self.cap_ambient = CapSet::EMPTY;
                }
                if is_root(old.euid) && !is_root(self.euid) {
                    self.cap_effective = CapSet::EMPTY;
                }
                if !is_root(old.euid) && is_root(self.euid) {
                    self.cap_effective = self.cap_permitted;
                }
            }
            Change::FileAccess => {
                if is_root(old.fsuid) && !is_root(self.fsuid) {
                    self.cap_effective = self.cap_effective.difference(FILE_CAPS);
                }
                if !is_root(old.fsuid) && is_root(self.fsuid) {
                    self.cap_effective = self.cap_effective.union(FILE_CAPS.intersection(self.cap_permitted));
                }
            }
        }
        self
    }
}

/// All lock bits.
const LOCKS: SecureBits = SecureBits::from_bits_retain(0xaaa);
/// Bits that need no capability.
const EXEC_BITS: SecureBits = SecureBits::EXEC_RESTRICT_FILE.union(SecureBits::EXEC_DENY_INTERACTIVE);

impl CurrentTask {
    /// Puts changed credentials in force. Where they differ in ids or give more, the process is no longer dumpable and
    /// the signal on its parent's death is forgotten, as in commit_creds of Linux.
    pub fn commit_creds(&mut self, new: Credentials) {
        let old = self.own_creds();
        let other_ids = old.euid != new.euid
            || old.egid != new.egid
            || old.fsuid != new.fsuid
            || old.fsgid != new.fsgid
            || !old.covers(&new);
        let (old_uid, new_uid) = (old.uid, new.uid);
        if other_ids {
            self.mm().set_dumpable(0);
            self.parent_death_signal.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        if old_uid != new_uid {
            self.kernel().count_task(new_uid, 1);
            self.kernel().count_task(old_uid, -1);
            self.thread_group().note_uid(new_uid);
        }
        self.set_creds(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::UserNamespace;

    fn user(uid: u32) -> Credentials {
        Credentials::for_user(uid, uid, &[], UserNamespace::initial())
    }

    fn uids(creds: &Credentials) -> [u32; 4] {
        [creds.uid, creds.euid, creds.suid, creds.fsuid]
    }

    #[test]
    fn root_gives_everything_up_with_setuid() {
        let user = user(0).with_uid(1000).unwrap();
        assert_eq!(uids(&user), [1000; 4]);
        assert!(user.cap_permitted.is_empty() && user.cap_effective.is_empty());
        assert_eq!(user.with_uid(0).unwrap_err(), Errno::EPERM);
        assert_eq!(uids(&user.with_uid(1000).unwrap()), [1000; 4]);
    }

    #[test]
    fn a_set_user_id_program_goes_back_and_forth() {
        let mut creds = user(1000);
        creds.euid = 0;
        creds.suid = 0;
        creds.cap_permitted = CapSet::ALL;
        creds.cap_effective = CapSet::ALL;
        let dropped = creds.with_resuid(None, Some(1000), None).unwrap();
        assert_eq!(uids(&dropped), [1000, 1000, 0, 1000]);
        assert_eq!((dropped.cap_effective, dropped.cap_permitted), (CapSet::EMPTY, CapSet::ALL));
        let back = dropped.with_resuid(None, Some(0), None).unwrap();
        assert_eq!(back.cap_effective, CapSet::ALL);
        assert_eq!(dropped.with_resuid(Some(5), None, None).unwrap_err(), Errno::EPERM);
    }

    #[test]
    fn setreuid_saves_the_new_effective_id() {
        let creds = user(0);
        assert_eq!(uids(&creds.with_reuid(Some(7), None).unwrap()), [7, 0, 0, 0]);
        assert_eq!(uids(&creds.with_reuid(None, Some(7)).unwrap()), [0, 7, 7, 7]);
        assert_eq!(uids(&creds.with_reuid(None, Some(0)).unwrap()), [0, 0, 0, 0]);
    }

    #[test]
    fn fsuid_takes_the_file_capabilities_along() {
        let other = user(0).with_fsuid(1000).unwrap();
        assert!(!other.has_cap(CAP_CHOWN) && other.has_cap(CAP_SETUID));
        let back = other.with_fsuid(0).unwrap();
        assert_eq!(back.cap_effective, CapSet::ALL);
        assert!(user(5).with_fsuid(6).is_none());
    }

    #[test]
    fn keep_caps_keeps_permitted_ones_only() {
        let kept = user(0).with_keep_caps(true).unwrap().with_uid(1000).unwrap();
        assert_eq!((kept.cap_permitted, kept.cap_effective), (CapSet::ALL, CapSet::EMPTY));
    }

    #[test]
    fn capset_only_gives_up() {
        let root = user(0);
        let one = CapSet::of(&[CAP_CHOWN]);
        let less = root.with_caps(one, one, CapSet::EMPTY).unwrap();
        assert_eq!(less.with_caps(CapSet::ALL, one, CapSet::EMPTY).unwrap_err(), Errno::EPERM);
        assert_eq!(less.with_caps(one, CapSet::ALL, CapSet::EMPTY).unwrap_err(), Errno::EPERM);
        // Without CAP_SETPCAP only what is permitted can become inheritable.
        assert!(less.with_caps(one, one, one).is_ok());
        assert_eq!(less.with_caps(one, one, CapSet::of(&[CAP_MKNOD])).unwrap_err(), Errno::EPERM);
        assert!(root.with_caps(CapSet::ALL, CapSet::ALL, CapSet::ALL).is_ok());
    }

    #[test]
    fn securebits_are_locked() {
        let locked = user(0).with_securebits(3).unwrap();
        assert_eq!(locked.with_securebits(0).unwrap_err(), Errno::EPERM);
        assert_eq!(locked.with_securebits(2).unwrap_err(), Errno::EPERM);
        assert_eq!(locked.with_securebits(3 | 4).unwrap().securebits, 7);
        assert_eq!(user(5).with_securebits(4).unwrap_err(), Errno::EPERM);
        assert_eq!(user(0).with_securebits(1 << 20).unwrap_err(), Errno::EPERM);
        assert_eq!(user(5).with_securebits(256).unwrap().securebits, 256);
    }

    #[test]
    fn ambient_ones_need_to_be_inheritable() {
        let root = user(0);
        assert_eq!(root.with_ambient(CAP_CHOWN).unwrap_err(), Errno::EPERM);
        let root = root.with_caps(CapSet::ALL, CapSet::ALL, CapSet::ALL).unwrap();
        let raised = root.with_ambient(CAP_CHOWN).unwrap();
        assert_eq!(raised.cap_ambient, CapSet::of(&[CAP_CHOWN]));
        assert!(raised.with_uid(1000).unwrap().cap_ambient.is_empty());
    }
}

//! POSIX access control lists (acl(5)): who else may do what with a file, and what new files in a directory inherit.
//!
//! [`Acl`] is a list as file systems keep it, with ids of the first user namespace. On the way from and to guests, and to
//! the host, it is the value of an extended attribute, [`AclKind::name`]. A list that says no more than permission bits do
//! is never kept; where one is kept, the group's bits of the mode are its mask.

use std::sync::Arc;

use abi::Errno;
use abi::acl::{
    ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_UNDEFINED_ID, ACL_USER, ACL_USER_OBJ,
    POSIX_ACL_XATTR_VERSION, PosixAclXattrEntry, PosixAclXattrHeader,
};
use abi::stat::{S_IRWXG, S_IRWXUGO, S_ISGID};
use abi::xattr::{XATTR_POSIX_ACL_ACCESS, XATTR_POSIX_ACL_DEFAULT};
use zerocopy::{FromBytes, IntoBytes};

use super::attr::{NewKind, NewNode};
use super::caller::Caller;
use super::inode::Inode;
use super::notify::{Events, notify};
use super::path::Path;
use super::permission::Want;
use crate::Result;
use crate::task::{Credentials, UserNamespace};

/// Which list of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    /// Who may do what with it.
    Access,
    /// What is made in a directory begins with this.
    Default,
}

impl AclKind {
    /// Both.
    pub const ALL: [AclKind; 2] = [AclKind::Access, AclKind::Default];

    /// The extended attribute that it is read and set by.
    pub fn name(self) -> &'static [u8] {
        match self {
            AclKind::Access => XATTR_POSIX_ACL_ACCESS,
            AclKind::Default => XATTR_POSIX_ACL_DEFAULT,
        }
    }

    /// The kind of this attribute, if it is one of a list.
    pub fn of_name(name: &[u8]) -> Option<AclKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// A bit for each kind.
    pub(super) fn bit(self) -> u8 {
        match self {
            AclKind::Access => 1,
            AclKind::Default => 2,
        }
    }
}

/// A change of a list that has been checked.
pub struct AclChange {
    /// Which.
    pub kind: AclKind,
    /// The new one; `None` takes it away.
    pub acl: Option<Arc<Acl>>,
    /// Whoever asks may have the set-group-ID bit on this file.
    pub keeps_set_gid: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u16,
    /// Bits of [`Want`].
    perm: u16,
    /// Of a named user or group.
    id: u32,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    entries: Box<[Entry]>,
}

/// What an id of a foreign list means: user or group, and the number.
type IdMap<'a> = &'a dyn Fn(u16, u32) -> Option<u32>;

impl Acl {
    /// From the value of an attribute that a member of `ns` gives. `None`: it has no entries. EINVAL for what is no list
    /// at all; whether it makes sense, [`is_valid`](Self::is_valid) tells.
    pub fn from_xattr(value: &[u8], ns: &UserNamespace) -> Result<Option<Acl>> {
        Self::parse(value, &|tag, id| if tag == ACL_USER { ns.uid_kernel(id) } else { ns.gid_kernel(id) })
    }

    /// From a value that a file system outside of this kernel has kept. EIO when it makes no sense.
    pub fn from_storage(value: &[u8]) -> Result<Option<Acl>> {
        match Self::parse(value, &|_, id| Some(id)) {
            Ok(Some(acl)) if acl.is_valid() => Ok(Some(acl)),
            Ok(None) => Ok(None),
            _ => Err(Errno::EIO),
        }
    }

    fn parse(value: &[u8], id_of: IdMap<'_>) -> Result<Option<Acl>> {
        let (head, rest) = PosixAclXattrHeader::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
        if head.a_version != POSIX_ACL_XATTR_VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (entries, rest) = rest.as_chunks::<{ size_of::<PosixAclXattrEntry>() }>();
        if !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let one = |bytes: &[u8; 8]| {
            let entry = PosixAclXattrEntry::read_from_bytes(bytes).map_err(|_| Errno::EINVAL)?;
            let id = match entry.e_tag {
                ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_MASK | ACL_OTHER => ACL_UNDEFINED_ID,
                tag @ (ACL_USER | ACL_GROUP) => id_of(tag, entry.e_id).ok_or(Errno::EINVAL)?,
                _ => return Err(Errno::EINVAL),
            };
            Ok(Entry { tag: entry.e_tag, perm: entry.e_perm, id })
        };
        Ok(Some(Acl { entries: entries.iter().map(one).collect::<Result<_>>()? }))
    }

    /// The value of the attribute as a member of `ns` sees it.
    pub fn to_xattr(&self, ns: &UserNamespace) -> Vec<u8> {
        self.print(&|tag, id| Some(if tag == ACL_USER { ns.uid_inside(id) } else { ns.gid_inside(id) }))
    }

    /// The value as a file system outside of this kernel keeps it.
    pub fn to_storage(&self) -> Vec<u8> {
        self.print(&|_, id| Some(id))
    }

    fn print(&self, id_of: IdMap<'_>) -> Vec<u8> {
        let mut bytes = PosixAclXattrHeader { a_version: POSIX_ACL_XATTR_VERSION }.as_bytes().to_vec();
        for entry in &self.entries {
            let named = matches!(entry.tag, ACL_USER | ACL_GROUP);
            let id = if named { id_of(entry.tag, entry.id) } else { None };
            let entry = PosixAclXattrEntry {
                e_tag: entry.tag,
                e_perm: entry.perm,
                e_id: id.unwrap_or(ACL_UNDEFINED_ID),
            };
            bytes.extend_from_slice(entry.as_bytes());
        }
        bytes
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>()
    }

    /// Whether each entry is there that must be, none that must not, and all in their order.
    pub fn is_valid(&self) -> bool {
        // What may come next.
        let mut state = ACL_USER_OBJ;
        let mut needs_mask = false;
        for entry in &self.entries {
            if u32::from(entry.perm) & !Want::all().bits() != 0 {
                return false;
            }
            state = match (entry.tag, state) {
                (ACL_USER_OBJ, ACL_USER_OBJ) => ACL_USER,
                (ACL_GROUP_OBJ, ACL_USER) => ACL_GROUP,
                (ACL_USER, ACL_USER) | (ACL_GROUP, ACL_GROUP) => {
                    needs_mask = true;
                    state
                }
                (ACL_MASK, ACL_GROUP) => ACL_OTHER,
                (ACL_OTHER, ACL_OTHER) => 0,
                (ACL_OTHER, ACL_GROUP) if !needs_mask => 0,
                _ => return false,
            };
        }
        state == 0
    }

    /// The permission bits that it comes to, and whether it says no more than they do.
    pub fn to_mode(&self) -> (u32, bool) {
        let (mut mode, mut mask) = (0, None);
        let mut says_no_more = true;
        for entry in &self.entries {
            let perm = u32::from(entry.perm);
            match entry.tag {
                ACL_USER_OBJ => mode |= perm << 6,
                ACL_GROUP_OBJ => mode |= perm << 3,
                ACL_OTHER => mode |= perm,
                ACL_MASK => mask = Some(perm << 3),
                _ => says_no_more = false,
            }
        }
        match mask {
            Some(mask) => (mode & !S_IRWXG | mask, false),
            None => (mode, says_no_more),
        }
    }

    /// Whether it lets `creds` do what they `want` with a file of `uid` and `gid`. Capabilities are not asked.
    pub fn allows(&self, creds: &Credentials, (uid, gid): (u32, u32), want: Want) -> bool {
        let grants = |entry: &Entry| want.bits() & !u32::from(entry.perm) == 0;
        let masked = |entry: &Entry| {
            grants(entry) && self.entries.iter().find(|other| other.tag == ACL_MASK).is_none_or(grants)
        };
        let mut in_some_group = false;
        for entry in &self.entries {
            match entry.tag {
                ACL_USER_OBJ if creds.fsuid == uid => return grants(entry),
                ACL_USER if creds.fsuid == entry.id => return masked(entry),
                ACL_GROUP_OBJ | ACL_GROUP => {
                    let group = if entry.tag == ACL_GROUP { entry.id } else { gid };
                    if creds.in_group(group) {
                        in_some_group = true;
                        if grants(entry) {
                            return masked(entry);
                        }
                    }
                }
                ACL_OTHER => return !in_some_group && grants(entry),
                _ => {}
            }
        }
        false
    }

    /// As it is after chmod(2).
    pub fn with_mode(&self, mode: u32) -> Acl {
        let has_mask = self.entries.iter().any(|entry| entry.tag == ACL_MASK);
        let mut new = self.clone();
        for entry in &mut new.entries {
            match entry.tag {
                ACL_USER_OBJ => entry.perm = (mode >> 6 & 7) as u16,
                ACL_GROUP_OBJ if !has_mask => entry.perm = (mode >> 3 & 7) as u16,
                ACL_MASK => entry.perm = (mode >> 3 & 7) as u16,
                ACL_OTHER => entry.perm = (mode & 7) as u16,
                _ => {}
            }
        }
        new
    }

    /// As a file has it that is made with `mode` where this is the default list.
    fn masked(&self, mode: u32) -> Acl {
        let own = self.to_mode().0;
        self.with_mode(own & mode)
    }
}

/// What a new file gets of the default list of its directory.
#[derive(Default)]
pub struct Inherited {
    /// Permission bits.
    pub permissions: u32,
    /// Its list.
    pub access: Option<Arc<Acl>>,
    /// Its default list, of a directory.
    pub default: Option<Arc<Acl>>,
}

/// What `node` gets where `default` is the directory's default list: with one the umask counts for nothing.
pub fn inherit(default: Option<&Arc<Acl>>, node: &NewNode<'_>) -> Inherited {
    let default = default.filter(|_| !matches!(node.kind, NewKind::Symlink(_)));
    let Some(default) = default else {
        return Inherited { permissions: node.permissions & !node.umask, ..Inherited::default() };
    };
    let access = default.masked(node.permissions);
    let (mode, says_no_more) = access.to_mode();
    Inherited {
        permissions: node.permissions & !S_IRWXUGO | mode,
        access: (!says_no_more).then(|| Arc::new(access)),
        default: (node.kind == NewKind::Directory).then(|| Arc::clone(default)),
    }
}

/// What setting an access list makes of a file of `mode`: the new mode, and the list where that does not say it all.
pub fn mode_of_change(mode: u32, change: &AclChange) -> (u32, Option<Arc<Acl>>) {
    let mut new = mode;
    let mut kept = None;
    if let Some(acl) = &change.acl {
        let (bits, says_no_more) = acl.to_mode();
        new = mode & !S_IRWXUGO | bits;
        kept = (!says_no_more).then(|| Arc::clone(acl));
    }
    if !change.keeps_set_gid {
        new &= !S_ISGID;
    }
    (new, kept)
}

impl Caller<'_> {
    /// The list as the value of an attribute; ENODATA when there is none.
    pub(super) fn get_acl(&self, inode: &Inode, kind: AclKind) -> Result<Vec<u8>> {
        if inode.is_symlink() {
            return Err(Errno::EOPNOTSUPP);
        }
        match inode.ops().get_acl(inode, kind)? {
            Some(acl) => Ok(acl.to_xattr(&self.creds.user_ns)),
            None => Err(Errno::ENODATA),
        }
    }

    /// Sets a list from the value of an attribute; one without entries takes it away.
    pub(super) fn set_acl(&self, place: &Path, kind: AclKind, value: &[u8]) -> Result<()> {
        let inode = place.inode();
        let acl = match value {
            [] => None,
            value => Acl::from_xattr(value, &self.creds.user_ns)?,
        };
        if !inode.ops().keeps_acls() || inode.is_symlink() {
            return Err(Errno::EOPNOTSUPP);
        }
        if kind == AclKind::Default && !inode.is_dir() {
            return if acl.is_some() { Err(Errno::EACCES) } else { Ok(()) };
        }
        if !inode.owner_or_capable(self.creds) {
            return Err(Errno::EPERM);
        }
        if acl.as_ref().is_some_and(|acl| !acl.is_valid()) {
            return Err(Errno::EINVAL);
        }
        let keeps_set_gid = self.may_keep_set_gid(inode);
        inode.ops().set_acl(inode, &AclChange { kind, acl: acl.map(Arc::new), keeps_set_gid })?;
        notify(&place.dentry, Events::ATTRIB);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of (tag, permissions, id), as an attribute.
    fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = POSIX_ACL_XATTR_VERSION.as_bytes().to_vec();
        for (e_tag, e_perm, e_id) in entries.iter().copied() {
            bytes.extend_from_slice(PosixAclXattrEntry { e_tag, e_perm, e_id }.as_bytes());
        }
        bytes
    }

    fn acl(entries: &[(u16, u16, u32)]) -> Acl {
        Acl::from_storage(&value(entries)).expect("valid").expect("not empty")
    }

    const NONE: u32 = ACL_UNDEFINED_ID;
    const NAMED: [(u16, u16, u32); 6] = [
        (ACL_USER_OBJ, 7, NONE),
        (ACL_USER, 6, 1000),
        (ACL_GROUP_OBJ, 5, NONE),
        (ACL_GROUP, 4, 2000),
        (ACL_MASK, 4, NONE),
        (ACL_OTHER, 1, NONE),
    ];

    #[test]
    fn values_come_back_as_they_were() {
        let ns = UserNamespace::initial();
        let bytes = value(&NAMED);
        let acl = Acl::from_xattr(&bytes, &ns).expect("a list").expect("entries");
        assert_eq!(acl.to_xattr(&ns), bytes);
        assert_eq!(acl.to_storage(), bytes);
        assert_eq!(acl.to_mode(), (0o741, false));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let ns = UserNamespace::initial();
        assert_eq!(Acl::from_xattr(&[2, 0, 0], &ns), Err(Errno::EINVAL));
        assert_eq!(Acl::from_xattr(&[1, 0, 0, 0], &ns), Err(Errno::EOPNOTSUPP));
        assert_eq!(Acl::from_xattr(&[2, 0, 0, 0], &ns), Ok(None));
        assert_eq!(Acl::from_xattr(&[2, 0, 0, 0, 1], &ns), Err(Errno::EINVAL));
        for missing in [0, 2, 4, 5] {
            let mut entries = NAMED.to_vec();
            entries.remove(missing);
            assert_eq!(Acl::from_storage(&value(&entries)), Err(Errno::EIO), "without entry {missing}");
        }
        for swapped in 0..5 {
            let mut entries = NAMED.to_vec();
            entries.swap(swapped, swapped + 1);
            assert_eq!(Acl::from_storage(&value(&entries)), Err(Errno::EIO), "swapped {swapped}");
        }
    }

    #[test]
    fn first_match_decides_and_the_mask_limits() {
        let acl = acl(&NAMED);
        let who = |uid, gid| Credentials::for_user(uid, gid, &[], UserNamespace::initial());
        let owner = (10, 10);
        assert!(acl.allows(&who(10, 99), owner, Want::all()));
        assert!(acl.allows(&who(1000, 99), owner, Want::READ));
        assert!(!acl.allows(&who(1000, 99), owner, Want::WRITE), "masked");
        assert!(acl.allows(&who(5, 10), owner, Want::READ));
        assert!(!acl.allows(&who(5, 10), owner, Want::EXEC), "masked");
        assert!(acl.allows(&who(5, 2000), owner, Want::READ));
        assert!(!acl.allows(&who(5, 2000), owner, Want::EXEC), "a group's member is not among the others");
        assert!(acl.allows(&who(5, 5), owner, Want::EXEC));
    }

    #[test]
    fn new_files_get_what_the_default_list_and_their_mode_have_in_common() {
        let default = Arc::new(acl(&NAMED));
        let node = NewNode { kind: NewKind::Regular, permissions: 0o666, umask: 0o777, uid: 0, gid: 0 };
        let file = inherit(Some(&default), &node);
        assert_eq!(file.permissions, 0o640);
        assert!(file.access.is_some() && file.default.is_none());
        let dir = inherit(Some(&default), &NewNode { kind: NewKind::Directory, permissions: 0o777, ..node });
        assert_eq!((dir.permissions, dir.default.is_some()), (0o741, true));
        let plain = Arc::new(acl(&[(ACL_USER_OBJ, 6, NONE), (ACL_GROUP_OBJ, 4, NONE), (ACL_OTHER, 0, NONE)]));
        let file = inherit(Some(&plain), &node);
        assert_eq!((file.permissions, file.access), (0o640, None));
        assert_eq!(inherit(None, &node).permissions, 0);
    }
}

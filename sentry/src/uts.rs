//! Host and domain name (uts_namespaces(7)).

use std::sync::Arc;

use sync::Mutex;

use crate::task::UserNamespace;

/// A UTS namespace.
pub struct UtsNamespace {
    /// Unique; what /proc/PID/ns/uts shows.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    names: Mutex<(Vec<u8>, Vec<u8>), sync::levels::Leaf>,
}

impl UtsNamespace {
    /// With a host name and no domain name.
    pub fn new(id: u64, user_ns: Arc<UserNamespace>, hostname: &[u8]) -> Arc<UtsNamespace> {
        Arc::new(UtsNamespace { id, user_ns, names: Mutex::new((hostname.to_vec(), b"(none)".to_vec())) })
    }

    /// A copy for unshare(CLONE_NEWUTS).
    pub fn copy(&self, id: u64, user_ns: Arc<UserNamespace>) -> Arc<UtsNamespace> {
        Arc::new(UtsNamespace { id, user_ns, names: Mutex::new(self.names.lock().clone()) })
    }

    /// Host name, up to 64 bytes.
    pub fn hostname(&self) -> Vec<u8> {
        self.names.lock().0.clone()
    }

    /// Domain name, up to 64 bytes.
    pub fn domainname(&self) -> Vec<u8> {
        self.names.lock().1.clone()
    }

    /// Sets the host name.
    pub fn set_hostname(&self, name: Vec<u8>) {
        self.names.lock().0 = name;
    }

    /// Sets the domain name.
    pub fn set_domainname(&self, name: Vec<u8>) {
        self.names.lock().1 = name;
    }
}

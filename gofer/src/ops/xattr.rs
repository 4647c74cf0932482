//! Extended attributes. The calls on descriptors want open files, so these go by the path of the descriptor; which
//! attributes may be read and set, the host decides.

use gofer_protocol::{Bytes, Errno, Handle, Reply, SetMode, XattrName};
use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};

use super::{Answer, Scratch, check_writable};
use crate::server::Server;

/// A value. Host calls: getxattr.
pub fn get<'s>(
    server: &Server,
    scratch: &'s mut Scratch,
    handle: Handle,
    name: XattrName<'_>,
) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    scratch.bytes.clear();
    getxattr(server.self_fds.path(&node.fd), name.as_bytes(), spare_capacity(&mut scratch.bytes))?;
    Ok(Reply::Value { value: Bytes(&scratch.bytes) }.into())
}

/// Sets a value. Host calls: setxattr.
pub fn set<'s>(
    server: &Server,
    handle: Handle,
    name: XattrName<'_>,
    mode: SetMode,
    value: Bytes<'_>,
) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    check_writable(&node)?;
    let flags = match mode {
        SetMode::Any => XattrFlags::empty(),
        SetMode::Create => XattrFlags::CREATE,
        SetMode::Replace => XattrFlags::REPLACE,
    };
    setxattr(server.self_fds.path(&node.fd), name.as_bytes(), value.0, flags)?;
    Ok(Reply::Done {}.into())
}

/// All names. Host calls: listxattr.
pub fn list<'s>(server: &Server, scratch: &'s mut Scratch, handle: Handle) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    scratch.bytes.clear();
    listxattr(server.self_fds.path(&node.fd), spare_capacity(&mut scratch.bytes))?;
    Ok(Reply::Value { value: Bytes(&scratch.bytes) }.into())
}

/// Takes a value away. Host calls: removexattr.
pub fn remove<'s>(server: &Server, handle: Handle, name: XattrName<'_>) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    check_writable(&node)?;
    removexattr(server.self_fds.path(&node.fd), name.as_bytes())?;
    Ok(Reply::Done {}.into())
}

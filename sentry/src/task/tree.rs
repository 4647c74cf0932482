//! The process tree: parents, children, process groups, sessions, exit states.
//!
//! One structure under one lock (level `TaskSet`): whoever changes shape holds it. Signals are sent under it where
//! the sending and the shape belong together (exit, setpgid); the reverse order is not allowed.

use std::collections::HashMap;
use std::sync::Arc;

use abi::Errno;
use abi::signal::Signal;

use super::usage::Usage;
use super::{ProcessGroup, Session, ThreadGroup};

/// All processes of the sandbox.
#[derive(Default)]
pub struct Tree {
    nodes: HashMap<u64, Node>,
    groups: HashMap<u64, Vec<u64>>,
    /// The process that stands for a job of a shell outside (`runsc do`).
    pub job: Option<u64>,
}

/// A process in the tree. The key is its [`ThreadGroup::id`].
pub struct Node {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// Its parent; `None` for init and for what the runtime started.
    pub parent: Option<u64>,
    /// Id of the parent's thread that made it (`__WNOTHREAD`).
    pub parent_thread: u64,
    /// Its children, oldest first.
    pub children: Vec<u64>,
    /// The process group it is in.
    pub process_group: Arc<ProcessGroup>,
    /// What the parent gets when it ends; `None`: nothing, and only `__WCLONE`/`__WALL` waits see it.
    pub exit_signal: Option<Signal>,
    /// Set when all threads are gone: the wait status.
    pub zombie: Option<i32>,
    /// PR_SET_CHILD_SUBREAPER.
    pub subreaper: bool,
    /// Usage of children that were waited for.
    pub children_usage: Usage,
    /// Has made a child.
    pub has_forked: bool,
    /// Has called execve: setpgid of the parent is EACCES.
    pub did_exec: bool,
}

impl Tree {
    /// Adds a process.
    pub fn insert(&mut self, node: Node) {
        let id = node.group.id();
        if let Some(parent) = node.parent.and_then(|p| self.nodes.get_mut(&p)) {
            parent.children.push(id);
        }
        self.groups.entry(node.process_group.id()).or_default().push(id);
        self.nodes.insert(id, node);
    }

    /// Takes a reaped process out. Its children have been given away before.
    pub fn remove(&mut self, id: u64) -> Option<Node> {
        let node = self.nodes.remove(&id)?;
        if let Some(parent) = node.parent.and_then(|p| self.nodes.get_mut(&p)) {
            parent.children.retain(|c| *c != id);
        }
        self.leave_group(id, node.process_group.id());
        Some(node)
    }

    fn leave_group(&mut self, id: u64, process_group: u64) {
        if let Some(members) = self.groups.get_mut(&process_group) {
            members.retain(|m| *m != id);
            if members.is_empty() {
                self.groups.remove(&process_group);
            }
        }
    }

    /// The process.
    pub fn get(&self, id: u64) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The process, to change it.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    /// All processes.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// How many processes there are, zombies included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The process group of a process.
    pub fn process_group(&self, id: u64) -> Option<Arc<ProcessGroup>> {
        self.nodes.get(&id).map(|n| Arc::clone(&n.process_group))
    }

    /// The session of a process.
    pub fn session(&self, id: u64) -> Option<Arc<Session>> {
        self.nodes.get(&id).map(|n| Arc::clone(&n.process_group.session))
    }

    /// The processes of a process group, zombies included.
    pub fn members(&self, process_group: u64) -> Vec<Arc<ThreadGroup>> {
        let ids = self.groups.get(&process_group).map_or(&[][..], Vec::as_slice);
        ids.iter().filter_map(|id| self.nodes.get(id)).map(|n| Arc::clone(&n.group)).collect()
    }

    /// Whether the process group has members.
    pub fn group_exists(&self, process_group: u64) -> bool {
        self.groups.contains_key(&process_group)
    }

    /// Moves a process to another process group.
    pub fn set_process_group(&mut self, id: u64, to: Arc<ProcessGroup>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let to_id = to.id();
        let from = std::mem::replace(&mut node.process_group, to);
        // Its id in its namespace is what getpgrp(2) answers.
        node.group.threads().iter().for_each(|thread| thread.answers_changed());
        if from.id() != to_id {
            self.leave_group(id, from.id());
            self.groups.entry(to_id).or_default().push(id);
        }
    }

    /// Whether no member of the process group has a parent in another group of the same session: such a group is
    /// not stopped by terminal signals. `ignored` is a process that is exiting.
    pub fn is_orphaned(&self, process_group: u64, ignored: Option<u64>) -> bool {
        let Some(members) = self.groups.get(&process_group) else { return true };
        !members.iter().filter(|m| Some(**m) != ignored).any(|member| {
            let Some(node) = self.nodes.get(member) else { return false };
            if node.zombie.is_some() {
                return false;
            }
            // The first program stands for a job of the shell that called runsc: not orphaned.
            if self.job == Some(*member) {
                return true;
            }
            let Some(parent) = node.parent.and_then(|p| self.nodes.get(&p)) else { return false };
            parent.process_group.id() != process_group
                && Arc::ptr_eq(&parent.process_group.session, &node.process_group.session)
        })
    }

    /// The process group with this founder in this session, for setpgid.
    pub fn group_in_session(
        &self,
        process_group: u64,
        session: &Arc<Session>,
    ) -> Result<Arc<ProcessGroup>, Errno> {
        let member = self.groups.get(&process_group).and_then(|m| m.first());
        let node = member.and_then(|m| self.nodes.get(m)).ok_or(Errno::EPERM)?;
        if !Arc::ptr_eq(&node.process_group.session, session) {
            return Err(Errno::EPERM);
        }
        Ok(Arc::clone(&node.process_group))
    }
}

//! Host processes of a container besides its monitor and what that has started: the monitors of added processes, and hooks.
//! Each has a note in the container's directory for as long as it lives, so that whoever is killed, `delete` finds them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::state_file::HostProcess;

/// Name of the directory with the notes, in the container's.
const DIR: &str = "processes";
/// End of the name of a note that is being written.
const NEW: &str = ".new";

/// A process that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The process.
    pub process: HostProcess,
    /// Whether it leads a process group, which ends with it.
    pub leads_group: bool,
}

/// The place of one note.
#[derive(Debug)]
pub struct NotePlace {
    dir: OwnedFd,
    name: String,
}

impl NotePlace {
    /// A place for the note of a process that this one is about to start. What others have left there is taken away.
    pub fn new(container: &Path) -> io::Result<NotePlace> {
        let path = container.join(DIR);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        for (name, note) in read_all(&path) {
            if !note.process.is_alive() {
                // An error: another command was faster.
                let _ = std::fs::remove_file(path.join(name));
            }
        }
        // Pids come again: with the time, the name does not.
        let name = format!("{}.{}", std::process::id(), crate::config::monotonic_ns());
        Ok(NotePlace { dir: File::open(path)?.into(), name })
    }

    /// The same place, for the process that is about to be started.
    pub fn try_clone(&self) -> io::Result<NotePlace> {
        Ok(NotePlace { dir: self.dir.try_clone()?, name: self.name.clone() })
    }

    /// Writes the note.
    pub fn write(&self, note: &Note) -> io::Result<()> {
        let beside = format!("{}{NEW}", self.name);
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.dir, &beside, flags, Mode::from_raw_mode(0o600))?;
        File::from(fd).write_all(&serde_json::to_vec(note)?)?;
        Ok(rustix::fs::renameat(&self.dir, &beside, &self.dir, &self.name)?)
    }

    /// Takes it away.
    pub fn remove(&self) {
        // An error: it was not written, or the container is deleted.
        let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
    }
}

/// All notes of a container.
pub fn all(container: &Path) -> Vec<Note> {
    read_all(&container.join(DIR)).into_iter().map(|(_, note)| note).collect()
}

fn read_all(dir: &Path) -> Vec<(std::ffi::OsString, Note)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let is_new = name.as_encoded_bytes().ends_with(NEW.as_bytes());
        let note =
            if is_new { None } else { serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok() };
        Some((name, note?))
    };
    entries.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stay_while_the_process_lives() {
        let dir = tempfile::tempdir().unwrap();
        assert!(all(dir.path()).is_empty());
        let living =
            Note { process: HostProcess::of(std::process::id() as i32).unwrap(), leads_group: false };
        let dead = Note { process: HostProcess { started: 1, ..living.process }, leads_group: true };
        let [first, second] = [living, dead].map(|note| {
            let place = NotePlace::new(dir.path()).unwrap();
            place.write(&note).unwrap();
            place
        });
        let mut notes = all(dir.path());
        notes.sort_by_key(|note| note.leads_group);
        assert_eq!(notes, [living, dead]);
        NotePlace::new(dir.path()).unwrap();
        assert_eq!(all(dir.path()), [living]);
        first.remove();
        second.remove();
        assert!(all(dir.path()).is_empty());
    }
}

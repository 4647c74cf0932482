//! What a file has answered, until it is shown.

use platform::MemoryFile;

use super::mappable::{Place, Run};

/// A run whose reference is given back unless it is taken out.
pub(super) struct HeldRun<'a> {
    memory: &'a MemoryFile,
    run: Option<Run>,
}

impl<'a> HeldRun<'a> {
    pub fn new(memory: &'a MemoryFile, run: Run) -> Self {
        HeldRun { memory, run: Some(run) }
    }

    pub fn len(&self) -> u64 {
        self.run.as_ref().map_or(0, |run| run.len)
    }

    /// The first `len` bytes of the run; the caller owns their references now.
    pub fn take(&mut self, len: u64) -> Option<Place> {
        let run = self.run.take()?;
        if len < run.len {
            run.place.behind(len).decref(self.memory, run.len - len);
        }
        Some(run.place)
    }
}

impl Drop for HeldRun<'_> {
    fn drop(&mut self) {
        if let Some(Run { place, len }) = self.run.take() {
            place.decref(self.memory, len);
        }
    }
}

//! Contents moved within a file: the ranges that fallocate(2) takes out or puts in.
//!
//! Linux's tmpfs does not do this; here tmpfs is also what an overlay writes to, whose programs may know it from disks.

use abi::Errno;
use platform::PAGE_SIZE;

use super::{FileData, Made, Piece};
use crate::Result;

/// Bytes that are copied at once.
const STEP: u64 = 64 * 1024;

impl FileData {
    /// Takes `[offset, offset + len)` out: what is behind it moves down. Both are whole pages, and the end of the file is
    /// further up. The caller holds the inode's lock.
    pub fn collapse(&self, offset: u64, len: u64) -> Result<()> {
        let size = self.size();
        let extents = self.extents(offset + len);
        self.has_room_to_move(&extents)?;
        {
            let _stable = self.stable.write();
            let mut free_from = offset;
            for (start, count) in extents {
                let to = start - len;
                self.take_away(free_from, to);
                let mut done = 0;
                while done < count {
                    let step = STEP.min(count - done);
                    self.copy_within(start + done, to + done, step)?;
                    done += step;
                }
                free_from = to + count;
            }
        }
        self.mappings.invalidate(offset, size - offset);
        self.set_size(size - len);
        Ok(())
    }

    /// Puts a hole of `len` bytes at `offset`: what is there moves up. Both are whole pages. The caller holds the inode's
    /// lock.
    pub fn insert(&self, offset: u64, len: u64) -> Result<()> {
        let size = self.size();
        let extents = self.extents(offset);
        self.has_room_to_move(&extents)?;
        {
            let _stable = self.stable.write();
            let mut free_to = size.div_ceil(PAGE_SIZE) * PAGE_SIZE + len;
            for (start, count) in extents.into_iter().rev() {
                let to = start + len;
                self.take_away((to + count).div_ceil(PAGE_SIZE) * PAGE_SIZE, free_to);
                let mut left = count;
                while left > 0 {
                    let step = STEP.min(left);
                    left -= step;
                    self.copy_within(start + left, to + left, step)?;
                }
                free_to = to;
            }
            self.take_away(offset, free_to);
            self.pages.write().size = size + len;
        }
        self.mappings.invalidate(offset, size + len - offset);
        Ok(())
    }

    /// Where data is from `from` on: beginnings and lengths.
    fn extents(&self, from: u64) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let mut at = from;
        while let Some(piece) = self.piece(at, u64::MAX) {
            let len = match piece {
                Piece::Data(_, len) => {
                    found.push((at, len));
                    len
                }
                Piece::Hole(len) => len,
            };
            at += len;
        }
        found
    }

    /// ENOSPC where the pages that are made before others go would not fit: nothing may stop halfway.
    fn has_room_to_move(&self, extents: &[(u64, u64)]) -> Result<()> {
        let wanted: u64 = extents.iter().map(|(_, len)| len.div_ceil(PAGE_SIZE)).sum();
        let got = self.budget.take_pages(wanted);
        self.budget.give_pages(got);
        if got < wanted { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// Copies a range that is data, at most [`STEP`] bytes.
    fn copy_within(&self, from: u64, to: u64, len: u64) -> Result<()> {
        let mut buffer = vec![0; len as usize];
        let mut done = 0;
        while done < len {
            let Some(Piece::Data(at, count)) = self.piece(from + done, len - done) else {
                return Err(Errno::EIO);
            };
            let part = &mut buffer[done as usize..(done + count) as usize];
            self.memory.read(at, part).map_err(|_| Errno::EIO)?;
            done += count;
        }
        let mut done = 0;
        while done < len {
            let Made { memory: at, len: count, .. } = self.make_pages(to + done, len - done)?;
            let part = &buffer[done as usize..(done + count) as usize];
            self.memory.write(at, part).map_err(|_| Errno::EIO)?;
            done += count;
        }
        Ok(())
    }
}

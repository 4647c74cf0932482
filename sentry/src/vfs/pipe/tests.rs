use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use abi::poll::PollEvents;

use super::buffer::SlotKind;
use super::{Fifo, FifoOpen, Pipe, PipeEnd, SLOT_SIZE, new_pipe, splice_between, tee};
use crate::vfs::file::AccessMode;
use crate::vfs::io::{BufSink, BufSource, IoSource};
use crate::wait::Wake;

const READ: AccessMode = AccessMode { read: true, write: false };
const WRITE: AccessMode = AccessMode { read: false, write: true };

fn write(end: &PipeEnd, bytes: &[u8]) -> Result<usize, Errno> {
    end.pipe().write(&mut BufSource::new(bytes), SlotKind::Stream)
}

fn write_packet(end: &PipeEnd, bytes: &[u8]) -> Result<usize, Errno> {
    end.pipe().write(&mut BufSource::new(bytes), SlotKind::Packet)
}

fn read(end: &PipeEnd, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let n = end.pipe().read(&mut BufSink::new(&mut bytes))?;
    bytes.truncate(n);
    Ok(bytes)
}

fn poll(end: &PipeEnd) -> PollEvents {
    end.pipe().poll(end.reads(), end.writes(), u64::MAX)
}

/// A source whose memory ends after some bytes.
struct Faulty(usize, usize);

impl IoSource for Faulty {
    fn remaining(&self) -> usize {
        self.1
    }
    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let n = self.peek(buffer)?;
        self.advance(n);
        Ok(n)
    }
    fn peek(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match buffer.len().min(self.0) {
            0 => Err(Errno::EFAULT),
            n => Ok(n),
        }
    }
    fn advance(&mut self, bytes: usize) {
        self.0 -= bytes;
        self.1 -= bytes;
    }
    fn take_to_host(
        &mut self,
        _: std::os::fd::BorrowedFd<'_>,
        _: Option<u64>,
        _: usize,
    ) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }
}

#[test]
fn bytes_come_out_as_they_went_in() {
    let (r, w) = new_pipe();
    assert_eq!(read(&r, 10), Err(Errno::EAGAIN));
    assert_eq!(write(&w, b"hello "), Ok(6));
    assert_eq!(write(&w, b"world"), Ok(5));
    assert_eq!(r.pipe().readable_bytes(), 11);
    assert_eq!(read(&r, 8).unwrap(), b"hello wo");
    assert_eq!(read(&r, 8).unwrap(), b"rld");
    drop(w);
    assert_eq!(read(&r, 8).unwrap(), b"");
}

#[test]
fn small_writes_share_slots_and_pages_fill_the_pipe() {
    let (r, w) = new_pipe();
    for _ in 0..SLOT_SIZE * 16 {
        assert_eq!(write(&w, b"x"), Ok(1));
    }
    assert_eq!(write(&w, b"x"), Err(Errno::EAGAIN));
    assert_eq!(poll(&w), PollEvents::empty());
    assert_eq!(read(&r, SLOT_SIZE - 1).unwrap().len(), SLOT_SIZE - 1);
    // A slot is free only when it is read to its end.
    assert_eq!(poll(&w), PollEvents::empty());
    assert_eq!(read(&r, 1).unwrap().len(), 1);
    assert!(poll(&w).contains(PollEvents::OUT));
    assert_eq!(write(&w, &[0; 5000]), Ok(SLOT_SIZE));
}

#[test]
fn large_writes_stop_at_the_capacity() {
    let (r, w) = new_pipe();
    let data: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    assert_eq!(write(&w, &data), Ok(65536));
    assert_eq!(read(&r, 100_000).unwrap(), data[..65536]);
    assert_eq!(write(&w, &data[..1]), Ok(1));
    // 1000 fit behind the one byte; the host's kernel puts the odd part of a write there.
    assert_eq!(write(&w, &data[..SLOT_SIZE + 1000]), Ok(SLOT_SIZE + 1000));
    assert_eq!(read(&r, 1).unwrap(), data[..1]);
    assert_eq!(read(&r, 100_000).unwrap(), data[..SLOT_SIZE + 1000]);
}

#[test]
fn packets_are_read_one_by_one() {
    let (r, w) = new_pipe();
    assert_eq!(write_packet(&w, b"first"), Ok(5));
    assert_eq!(write_packet(&w, b"second"), Ok(6));
    assert_eq!(read(&r, 3).unwrap(), b"fir");
    assert_eq!(read(&r, 100).unwrap(), b"second");
    for _ in 0..16 {
        assert_eq!(write_packet(&w, b"x"), Ok(1));
    }
    assert_eq!(write_packet(&w, b"x"), Err(Errno::EAGAIN));
}

#[test]
fn no_reader_is_epipe_and_no_writer_is_the_end() {
    let (r, w) = new_pipe();
    assert_eq!(poll(&r), PollEvents::empty());
    drop(r);
    assert_eq!(write(&w, b"x"), Err(Errno::EPIPE));
    assert_eq!(write(&w, &[0; 9000]), Err(Errno::EPIPE));
    assert_eq!(write(&w, b""), Ok(0));
    assert_eq!(poll(&w), PollEvents::OUT | PollEvents::WRNORM | PollEvents::ERR);
    let (r, w) = new_pipe();
    write(&w, b"rest").unwrap();
    drop(w);
    assert!(poll(&r).contains(PollEvents::IN | PollEvents::HUP));
    assert_eq!(read(&r, 9).unwrap(), b"rest");
    assert_eq!(poll(&r), PollEvents::HUP);
}

#[test]
fn capacity_can_be_changed() {
    let (r, w) = new_pipe();
    assert_eq!(r.pipe().size(), 65536);
    assert_eq!(r.pipe().set_size(1 << 20, false), Ok(1 << 20));
    assert_eq!(r.pipe().set_size((1 << 20) + 1, false), Err(Errno::EPERM));
    assert_eq!(r.pipe().set_size((1 << 20) + 1, true), Ok(2 << 20));
    assert_eq!(r.pipe().set_size((1 << 31) + 1, true), Err(Errno::EINVAL));
    assert_eq!(write(&w, &vec![0; 1 << 20]), Ok(1 << 20));
    assert_eq!(r.pipe().set_size(1, false), Err(Errno::EBUSY));
    assert_eq!(read(&r, 2 << 20).unwrap().len(), 1 << 20);
    assert_eq!(r.pipe().set_size(0, false), Ok(SLOT_SIZE));
}

#[test]
fn faults_lose_nothing() {
    let (r, w) = new_pipe();
    let fault = |good, len| w.pipe().write(&mut Faulty(good, len), SlotKind::Stream);
    assert_eq!(fault(0, 10), Err(Errno::EFAULT));
    assert_eq!(fault(100, 5000), Err(Errno::EFAULT));
    assert_eq!(fault(5000, 10000), Ok(SLOT_SIZE));
    assert_eq!(read(&r, 9000).unwrap().len(), SLOT_SIZE);
    assert_eq!(write(&w, &[0; 16 * SLOT_SIZE]), Ok(16 * SLOT_SIZE));
    assert_eq!(fault(0, 10), Err(Errno::EAGAIN));
    drop(r);
    assert_eq!(fault(0, 10), Err(Errno::EPIPE));
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(&self, _events: PollEvents) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[test]
fn writers_are_told_only_when_the_pipe_was_full() {
    let (r, w) = new_pipe();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    w.pipe().wait_queue().register(PollEvents::OUT, count.clone());
    write(&w, &[0; 100]).unwrap();
    read(&r, 100).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    write(&w, &[0; 16 * SLOT_SIZE]).unwrap();
    read(&r, SLOT_SIZE).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
}

#[test]
fn fifos_wait_for_each_other() {
    let fifo = Fifo::default();
    assert_eq!(fifo.open(WRITE, true).err(), Some(Errno::ENXIO));
    let Ok(FifoOpen::Waiting(mut reader)) = fifo.open(READ, false) else { panic!() };
    assert!(reader.ready().is_none());
    let Ok(FifoOpen::Ready(writer)) = fifo.open(WRITE, false) else { panic!() };
    write(&writer, b"x").unwrap();
    drop(writer);
    // The writer has come and gone: the reader's open succeeds and sees what it wrote.
    let end = reader.ready().expect("a writer came");
    assert_eq!(read(&end, 9).unwrap(), b"x");
    drop(end);
    let Ok(FifoOpen::Ready(early)) = fifo.open(READ, true) else { panic!() };
    assert_eq!(early.pipe().poll(true, false, 1), PollEvents::HUP);
    assert_eq!(read(&early, 1).unwrap(), b"");
}

#[test]
fn splice_and_tee() {
    let (r1, w1) = new_pipe();
    let (r2, w2) = new_pipe();
    write(&w1, b"abcdef").unwrap();
    assert_eq!(tee(r1.pipe(), w2.pipe(), 4), Ok(4));
    assert_eq!(splice_between(r1.pipe(), w2.pipe(), 3), Ok(3));
    assert_eq!(read(&r1, 9).unwrap(), b"def");
    assert_eq!(read(&r2, 9).unwrap(), b"abcdabc");
    assert_eq!(splice_between(r1.pipe(), w2.pipe(), 3), Err(Errno::EAGAIN));
    drop(w1);
    assert_eq!(splice_between(r1.pipe(), w2.pipe(), 3), Ok(0));
    assert_eq!(splice_between(r2.pipe(), w2.pipe(), 3), Err(Errno::EINVAL));
}

#[test]
fn nothing_is_lost_between_threads() {
    let (r, w) = new_pipe();
    let total = 3_000_000;
    let writer = std::thread::spawn(move || {
        let mut at = 0usize;
        while at < total {
            let len = (at * 7 + 13) % 9000 + 1;
            let data: Vec<u8> = (at..(at + len).min(total)).map(|i| (i % 251) as u8).collect();
            match write(&w, &data) {
                Ok(n) => at += n,
                Err(_) => std::thread::yield_now(),
            }
        }
    });
    let mut at = 0;
    loop {
        match read(&r, (at * 5) % 10000 + 1) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => {
                for byte in bytes {
                    assert_eq!(byte, (at % 251) as u8);
                    at += 1;
                }
            }
            Err(_) => std::thread::yield_now(),
        }
    }
    assert_eq!(at, total);
    writer.join().unwrap();
}

#[test]
fn an_abandoned_open_leaves_no_end() {
    let fifo = Fifo::default();
    let Ok(FifoOpen::Waiting(opening)) = fifo.open(WRITE, false) else { panic!() };
    drop(opening);
    assert!(matches!(fifo.open(READ, false), Ok(FifoOpen::Waiting(_))));
    let pipe = Pipe::new();
    assert_eq!(pipe.poll(false, true, u64::MAX), PollEvents::OUT | PollEvents::WRNORM | PollEvents::ERR);
}

#[test]
fn many_pipes_are_small() {
    assert_eq!(super::capacity_for(super::MANY_SLOTS - 1), 16);
    assert_eq!(super::capacity_for(super::MANY_SLOTS), 2);
    // Other tests have pipes at the same time, but none that are this large.
    let pipe = Pipe::new();
    pipe.set_size(64 << 20, true).unwrap();
    assert!(super::ALL_SLOTS.load(Ordering::Relaxed) >= 1 << 14);
    drop(pipe);
    assert!(super::ALL_SLOTS.load(Ordering::Relaxed) < 1 << 14);
}

//! Which processors the two threads of a pair run on: the Sentry's (the tracer, for ptrace) and the guest's (the tracee).
//!
//! Each trap is two hand-overs between them. On one processor a hand-over is a switch; to another processor that
//! is idle it costs many times that, and the host's scheduler likes to wake threads on idle processors. So a pair is
//! held on one processor while its guest makes calls densely, and let go when the guest computes or waits:
//!
//! - A pair is held where its tracer is, unless another pair has guest code running there and another processor has
//!   none; a new one, which may end soon, even then: to move a running thread takes as long as many traps. Threads and processes inherit the processor they may use, so a child starts beside a parent that waits for it.
//! - Where a pair can have two processors and hand over by looking at memory (`spreads`), that is faster still, as long as both
//!   really run. So a pair is spread over two processors while calls are dense and no more pairs are dense than there are
//!   processors for; and held on one for a while when looking has often been in vain.
//! - A context looks at the clock every few traps: traps far apart mean that it is let go.
//! - A pair that is not held makes its traps further apart than it would if it were: each is two threads woken on idle processors. So
//!   one whose traps would be dense but for that is held to see, less and less often when it was in vain.
//! - A pair that loses its second processor to another pair goes on on its first: to wake a thread on another processor costs five
//!   times what it costs on the own one. So does a new one at first. When no other has come for
//!   some traps it looks for the best place again.
//!   So does one that found no second processor because others are held that do nothing.
//! - A pair whose guest is about to wait for a child is held where it is, dense or not: the child begins there, and neither it nor its end
//!   has to wake another processor. When it turns out that the guest makes another one instead, it is let go.
//! - From time to time it lets itself go for a few traps, so that the host's scheduler may find a better place; it
//!   is held again wherever its tracer is then.
//! - A guest that computes for long gives its tracer nothing to look at. A thread of the platform's own, which
//!   sleeps unless some pair is held, looks every few milliseconds for pairs that made no trap, and lets them go. It
//!   also lets one go when several busy ones are held on one processor and another has none.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use host::thread::{CpuSet, affinity, current_cpu, gettid, initial_affinity, run_anywhere, set_affinity};
use sync::levels::Leaf;
use sync::{Condvar, Mutex};

/// Traps between two looks at the clock, while held and while not.
const HELD_TRAPS: u32 = 32;
const FREE_TRAPS: u32 = 4;
/// The same for one that may have a second processor soon.
const SOON_TRAPS: u32 = 64;
/// The same for a pair that has just come.
const FIRST_TRAPS: u32 = 8;
/// Traps are dense when they are closer than this, on average.
const DENSE: Duration = Duration::from_micros(60);
/// What a trap costs at most beside that while a pair is not held.
const FREE_TRAP: Duration = Duration::from_micros(250);
/// How long a pair is not held after that was in vain: at first, and at most. It doubles each time.
const NOT_HELD: Duration = Duration::from_millis(2);
const MAX_NOT_HELD: Duration = Duration::from_millis(500);
/// How long a pair is held before the host may find a better place.
const HOLD: Duration = Duration::from_millis(100);
/// How long a pair is held on one processor after it has been spread in vain: at first, and at most. It doubles each time.
const NOT_SPREAD: Duration = Duration::from_millis(12);
const MAX_NOT_SPREAD: Duration = Duration::from_secs(7);
/// Of the traps between two looks at the clock, this many may come too late for one who spins.
const MAX_LATE: u32 = HELD_TRAPS / 4;
/// How often each side of a spread pair looks at memory before it sleeps: some tens of microseconds.
const SPIN: Spin = Spin { sentry: 1500, stub: 3000 };
/// How often the platform's thread looks.
const PERIOD: Duration = Duration::from_millis(4);
/// How often it looks at nothing before it sleeps.
const IDLE_PERIODS: u32 = 25;
/// Fewer traps in that time are not dense.
const DENSE_TRAPS: u32 = 16;

/// How often to look at memory before going to sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spin {
    /// The Sentry's thread.
    pub(crate) sentry: u32,
    /// The guest's.
    pub(crate) stub: u32,
}

/// Where a pair is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// On the processor that its tracer is on, even if another pair is there, both of them: many threads end before it would pay to
    /// move them.
    Here,
    /// On one where no other pair runs guest code, if there is one.
    Best,
}

/// A context's part.
pub(crate) struct Seat {
    placement: Arc<Placement>,
    shared: Arc<SharedSeat>,
    /// The last look at the clock, and `traps` then.
    looked: Instant,
    looked_traps: u32,
    held_since: Instant,
    traps: u32,
    next_look: u32,
    /// Hand-overs since the last look that came too late for one who spins.
    late: u32,
    not_spread_before: Instant,
    not_spread: Duration,
    not_held_before: Instant,
    not_held: Duration,
    /// The guest's thread is on another processor.
    wide: bool,
    /// It could be: another pair has taken that processor, or this pair has just come.
    narrowed: bool,
    /// How many pairs had come at the last look.
    newcomers: u32,
    /// The guest waits as long as others run.
    rests: bool,
    /// It is held because its guest waits for a child.
    stays: bool,
}

/// What the platform's thread sees of it.
struct SharedSeat {
    tracer: i32,
    tracee: AtomicI32,
    /// The one processor that each may use, or [`NO_ONE`]. Changed with the lock held.
    tracer_on: AtomicUsize,
    tracee_on: AtomicUsize,
    traps: AtomicU32,
    /// Guest code runs, or waits for a processor.
    in_guest: AtomicBool,
    /// The pair has two processors.
    spread: AtomicBool,
    /// Its guest waits as long as others run.
    rests: AtomicBool,
}

/// In place of a processor: several, or not known.
const NO_ONE: usize = usize::MAX;

impl SharedSeat {
    /// Restricts each of the two to a processor, where that is not so already.
    fn restrict(&self, tracer: usize, tracee: usize) -> std::io::Result<()> {
        let threads = [
            (self.tracer, tracer, &self.tracer_on),
            (self.tracee.load(Ordering::Relaxed), tracee, &self.tracee_on),
        ];
        for (thread, cpu, on) in threads {
            if on.load(Ordering::Relaxed) != cpu {
                set_affinity(thread, &CpuSet::single(cpu))?;
                on.store(cpu, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// A pair that is held.
struct Held {
    seat: Weak<SharedSeat>,
    cpu: usize,
    /// `traps` when the platform's thread looked last.
    traps: u32,
}

/// All pairs of the platform.
pub(crate) struct Placement {
    /// What the Sentry may use.
    all: CpuSet,
    cpus: usize,
    /// Pairs may be spread over two processors.
    spreads: bool,
    /// How many pairs have come.
    newcomers: AtomicU32,
    state: Mutex<State, Leaf>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    /// The platform's thread exists.
    watched: bool,
    /// It has to end.
    over: bool,
}

impl Placement {
    pub(crate) fn new(spreads: bool) -> Arc<Placement> {
        // Where it is empty nothing is ever held.
        let all = *initial_affinity();
        Arc::new(Placement {
            all,
            cpus: all.count(),
            spreads,
            newcomers: AtomicU32::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn is_held(state: &State, seat: &Arc<SharedSeat>) -> bool {
        state.held.iter().any(|held| std::ptr::eq(held.seat.as_ptr(), Arc::as_ptr(seat)))
    }

    /// Lets both threads of a pair run everywhere. A thread that is gone meanwhile needs nothing.
    fn release(&self, seat: &SharedSeat) {
        seat.spread.store(false, Ordering::Relaxed);
        seat.tracer_on.store(NO_ONE, Ordering::Relaxed);
        seat.tracee_on.store(NO_ONE, Ordering::Relaxed);
        let _ = set_affinity(seat.tracer, &self.all);
        let _ = set_affinity(seat.tracee.load(Ordering::Relaxed), &self.all);
    }

    /// The platform's thread.
    fn watch(this: &Weak<Placement>) {
        let (mut first, mut idle) = (true, 0);
        while let Some(placement) = this.upgrade() {
            if std::mem::take(&mut first) {
                run_anywhere();
            }
            let mut state = placement.state.lock();
            if state.over {
                return;
            }
            // Pairs come and go: to be told of each first one costs it more than a few looks at nothing.
            idle = if state.held.is_empty() { idle + 1 } else { 0 };
            if idle > IDLE_PERIODS {
                placement.changed.wait(&mut state);
                continue;
            }
            placement.look(&mut state);
            drop(state);
            drop(placement);
            std::thread::sleep(PERIOD);
        }
    }

    fn look(&self, state: &mut State) {
        let mut busy = [0u32; libc::CPU_SETSIZE as usize];
        state.held.retain_mut(|held| {
            let Some(seat) = held.seat.upgrade() else { return false };
            let traps = seat.traps.load(Ordering::Relaxed);
            if traps.wrapping_sub(held.traps) < DENSE_TRAPS {
                self.release(&seat);
                return false;
            }
            held.traps = traps;
            busy[held.cpu] += 1;
            true
        });
        if state.held.len() < 2 || self.all.iter().all(|cpu| busy[cpu] > 0) {
            return;
        }
        if let Some(at) = state.held.iter().position(|held| busy[held.cpu] > 1)
            && let Some(seat) = state.held.swap_remove(at).seat.upgrade()
        {
            self.release(&seat);
        }
    }

    /// Ends the platform's thread.
    pub(crate) fn end(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }
}

impl Seat {
    /// For a context of the calling thread.
    pub(crate) fn new(placement: &Arc<Placement>) -> Seat {
        // Inherited from the thread of another pair.
        let inherited = affinity(0).ok().filter(|set| set.count() == 1).and_then(|set| set.iter().next());
        let shared = Arc::new(SharedSeat {
            tracer: gettid(),
            tracee: AtomicI32::new(0),
            tracer_on: AtomicUsize::new(inherited.unwrap_or(NO_ONE)),
            tracee_on: AtomicUsize::new(NO_ONE),
            traps: AtomicU32::new(0),
            in_guest: AtomicBool::new(false),
            spread: AtomicBool::new(false),
            rests: AtomicBool::new(false),
        });
        let now = Instant::now();
        Seat {
            placement: Arc::clone(placement),
            shared,
            looked: now,
            looked_traps: 0,
            held_since: now,
            traps: 0,
            next_look: HELD_TRAPS,
            late: 0,
            not_spread_before: now,
            not_spread: NOT_SPREAD,
            not_held_before: now,
            not_held: NOT_HELD,
            wide: false,
            narrowed: false,
            newcomers: 0,
            rests: false,
            stays: false,
        }
    }

    /// The guest is about to have a child. See the module.
    pub(crate) fn expect_wait(&mut self, waits: bool) {
        if self.placement.cpus < 2 {
            return;
        }
        let held = Placement::is_held(&self.placement.state.lock(), &self.shared);
        if !waits {
            if std::mem::take(&mut self.stays) && held {
                self.let_go();
            }
            return;
        }
        let now = Instant::now();
        if !held {
            self.hold(now, Where::Here);
            self.stays = true;
        }
        if self.stays && now - self.held_since <= HOLD {
            // Looks would find that calls are not dense.
            self.next_look = self.traps.wrapping_add(HELD_TRAPS);
        }
    }

    /// Lets a pair that is held run everywhere for a few traps.
    fn let_go(&mut self) {
        let mut state = self.placement.state.lock();
        state.held.retain(|held| !std::ptr::eq(held.seat.as_ptr(), Arc::as_ptr(&self.shared)));
        self.placement.release(&self.shared);
        drop(state);
        self.next_look = self.traps.wrapping_add(FREE_TRAPS);
    }

    /// The context has another host thread.
    pub(crate) fn attach(&mut self, tracee: i32) {
        self.shared.tracee.store(tracee, Ordering::Relaxed);
        self.shared.tracee_on.store(NO_ONE, Ordering::Relaxed);
        self.newcomers = self.placement.newcomers.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.hold(Instant::now(), Where::Here);
        self.next_look = self.traps.wrapping_add(FIRST_TRAPS);
    }

    /// To be called before guest code runs.
    #[inline]
    pub(crate) fn enter(&mut self) {
        self.traps = self.traps.wrapping_add(1);
        self.shared.traps.store(self.traps, Ordering::Relaxed);
        if self.traps == self.next_look {
            self.look();
        }
        if self.wide && !self.shared.spread.load(Ordering::Relaxed) {
            self.narrow();
        }
        if self.rests {
            self.go_on();
        }
        self.shared.in_guest.store(true, Ordering::Relaxed);
    }

    /// The guest is going to wait as long as others run: its processors are theirs.
    #[cold]
    pub(crate) fn rest(&mut self) {
        self.rests = true;
        self.shared.rests.store(true, Ordering::Relaxed);
    }

    /// It is the guest's turn again.
    #[cold]
    fn go_on(&mut self) {
        self.rests = false;
        self.shared.rests.store(false, Ordering::Relaxed);
        // As those did whose place it takes, if it did before.
        if self.not_held == NOT_HELD {
            self.hold(Instant::now(), Where::Best);
        }
    }

    /// How long each side shall look at memory now.
    #[inline]
    pub(crate) fn spin(&self) -> Spin {
        if self.shared.spread.load(Ordering::Relaxed) { SPIN } else { Spin::default() }
    }

    /// A hand-over came too late for one who spins.
    pub(crate) fn late(&mut self) {
        self.late += 1;
        if self.late > MAX_LATE {
            self.next_look = self.traps.wrapping_add(1);
        }
    }

    /// To be called after guest code has stopped.
    #[inline]
    pub(crate) fn leave(&mut self) {
        self.shared.in_guest.store(false, Ordering::Relaxed);
    }

    #[cold]
    fn look(&mut self) {
        if self.placement.cpus < 2 {
            // Not again before the counter comes around.
            return;
        }
        let now = Instant::now();
        let passed = now - self.looked;
        let traps = self.traps.wrapping_sub(self.looked_traps);
        self.looked = now;
        self.looked_traps = self.traps;
        let (held, room) = {
            let state = self.placement.state.lock();
            (Placement::is_held(&state, &self.shared), self.room(&state))
        };
        self.stays = false;
        let newcomers = self.placement.newcomers.load(Ordering::Relaxed);
        let quiet = newcomers == std::mem::replace(&mut self.newcomers, newcomers);
        let dense = passed < DENSE * traps;
        if dense {
            self.not_held = NOT_HELD;
        } else if held {
            self.not_held_before = now + self.not_held;
            self.not_held = (self.not_held * 2).min(MAX_NOT_HELD);
        }
        let perhaps = dense || (passed < (DENSE + FREE_TRAP) * traps && now >= self.not_held_before);
        let late = std::mem::take(&mut self.late);
        let spread = self.shared.spread.load(Ordering::Relaxed);
        if spread && late > MAX_LATE {
            self.not_spread_before = now + self.not_spread;
            self.not_spread = (self.not_spread * 2).min(MAX_NOT_SPREAD);
        } else if spread && late < MAX_LATE / 4 {
            self.not_spread = NOT_SPREAD;
        }
        let has_room = self.placement.spreads && room >= 2 && now >= self.not_spread_before;
        let widens = quiet && (self.narrowed || has_room);
        if held && dense && (self.wide && late > MAX_LATE || !self.wide && widens) {
            self.hold(now, Where::Best);
        } else if held && (!dense || now - self.held_since > HOLD) {
            self.let_go();
        } else if !held && perhaps {
            self.hold(now, Where::Best);
        } else {
            self.next_look = self.traps.wrapping_add(if held { HELD_TRAPS } else { FREE_TRAPS });
        }
    }

    /// Another pair has taken the second processor away.
    #[cold]
    fn narrow(&mut self) {
        (self.wide, self.narrowed) = (false, true);
        let state = self.placement.state.lock();
        if let Some(held) =
            state.held.iter().find(|held| std::ptr::eq(held.seat.as_ptr(), Arc::as_ptr(&self.shared)))
        {
            // The thread may be gone.
            let _ = self.shared.restrict(held.cpu, held.cpu);
        }
    }

    /// The other pairs that are held.
    fn others<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Held> {
        state.held.iter().filter(|held| !std::ptr::eq(held.seat.as_ptr(), Arc::as_ptr(&self.shared)))
    }

    /// How many processors there are for this pair, when each of the others that may run has one.
    fn room(&self, state: &State) -> usize {
        let runs = |held: &&Held| !held.seat.upgrade().is_some_and(|seat| seat.rests.load(Ordering::Relaxed));
        self.placement.cpus.saturating_sub(self.others(state).filter(runs).count())
    }

    fn hold(&mut self, now: Instant, wanted: Where) {
        let placement = &self.placement;
        if placement.cpus < 2 {
            return;
        }
        let mut state = placement.state.lock();
        let crowded = |cpu: usize| {
            state.held.iter().any(|held| {
                let seat = if held.cpu == cpu { held.seat.upgrade() } else { None };
                seat.is_some_and(|s| !Arc::ptr_eq(&s, &self.shared) && s.in_guest.load(Ordering::Relaxed))
            })
        };
        let mut cpu = current_cpu();
        let is_crowded = crowded(cpu);
        if is_crowded && wanted == Where::Best {
            cpu = placement.all.iter().find(|&other| !crowded(other)).unwrap_or(cpu);
        }
        let room = self.room(&state);
        for seat in self.others(&state).filter_map(|other| other.seat.upgrade()) {
            // One whose guest waits for this one, which may end soon, goes on as it was. Should both run, it will see that it is late.
            if wanted == Where::Best || seat.in_guest.load(Ordering::Relaxed) {
                seat.spread.store(false, Ordering::Relaxed);
            }
        }
        let second = placement.all.iter().find(|&other| other != cpu && !crowded(other));
        let others_wait = second.is_some() && !crowded(cpu);
        let second = second.filter(|_| {
            placement.spreads && wanted == Where::Best && room >= 2 && now >= self.not_spread_before
        });
        self.wide = second.is_some();
        // Others that only wait, such as for this one to end, are let go soon; and what was in vain is tried again.
        let soon = second.is_none() && wanted == Where::Best && placement.spreads && others_wait;
        self.narrowed = wanted == Where::Here || soon;
        self.shared.spread.store(self.wide, Ordering::Relaxed);
        if state.over || self.shared.restrict(cpu, second.unwrap_or(cpu)).is_err() {
            placement.release(&self.shared);
            return;
        }
        let own = |held: &&mut Held| std::ptr::eq(held.seat.as_ptr(), Arc::as_ptr(&self.shared));
        match state.held.iter_mut().find(own) {
            Some(held) => held.cpu = cpu,
            None => state.held.push(Held { seat: Arc::downgrade(&self.shared), cpu, traps: self.traps }),
        }
        if !state.watched {
            let this = Arc::downgrade(placement);
            let watch = move || Placement::watch(&this);
            // Without a watcher nothing may be held: a guest could hold its processor for ever.
            state.watched = std::thread::Builder::new().name("placement".into()).spawn(watch).is_ok();
            if !state.watched {
                state.held.clear();
                placement.release(&self.shared);
                return;
            }
        }
        if state.held.len() == 1 {
            placement.changed.notify_all();
        }
        drop(state);
        self.looked = now;
        self.looked_traps = self.traps;
        self.held_since = now;
        self.next_look = self.traps.wrapping_add(if soon { SOON_TRAPS } else { HELD_TRAPS });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.placement.state.lock();
        if Placement::is_held(&state, &self.shared) {
            state.held.retain(|held| !std::ptr::eq(held.seat.as_ptr(), Arc::as_ptr(&self.shared)));
            let _ = set_affinity(self.shared.tracer, &self.placement.all);
        }
    }
}

//! A thread's signal mask, wherever it is kept.
//!
//! A platform may let guest code change the mask by rt_sigprocmask(2) without a trap ([`platform::SignalMask`]). It is *lent* to the
//! guest for that. Rules, all under the locks of the process's and the thread's signals:
//!
//! - It is lent only by the thread itself, on its way to guest code, and only while no signal at all is pending for it or its process. So
//!   a change that is made without a trap can unblock nothing that is pending, and hands no process signal over to another thread.
//! - Who makes a signal pending takes the mask back from each thread that it may concern *before* looking at masks: [`recall`]. Then
//!   either the look sees the guest's last change, or the thread stops after that change and comes to the kernel, where
//!   [`work::RECALLED`] makes it look at signals with the mask that it really has; process signals that it blocks by then are
//!   offered to the other threads, since it may have been chosen for them by its old mask.
//! - The guest can put anything there at any time: it is the guest's own. SIGKILL and SIGSTOP are never blocked.
//!
//! [`recall`]: BlockedSignals::recall

use std::sync::Arc;

use abi::signal::SigSet;
use platform::SignalMask;

use crate::task::work;

/// The signals that a thread blocks.
#[derive(Default)]
pub struct BlockedSignals {
    /// Here, unless the platform keeps them.
    own: SigSet,
    platform: Option<Arc<dyn SignalMask>>,
    lent: bool,
}

impl From<SigSet> for BlockedSignals {
    fn from(mask: SigSet) -> BlockedSignals {
        BlockedSignals { own: mask.difference(SigSet::UNBLOCKABLE), ..BlockedSignals::default() }
    }
}

impl BlockedSignals {
    /// Has the platform keep them, where it can; for a thread that has not begun to run.
    pub(crate) fn keep_in(&mut self, platform: Option<Arc<dyn SignalMask>>) {
        if let Some(platform) = &platform {
            platform.set(self.own.0);
        }
        self.platform = platform;
    }

    /// Which they are; never SIGKILL and SIGSTOP.
    pub fn get(&self) -> SigSet {
        let mask = self.platform.as_ref().map_or(self.own, |platform| SigSet(platform.get()));
        mask.difference(SigSet::UNBLOCKABLE)
    }

    /// Changes them. By the thread itself, which looks at pending signals afterwards.
    pub(crate) fn set(&mut self, mask: SigSet) {
        let mask = mask.difference(SigSet::UNBLOCKABLE);
        match &self.platform {
            Some(platform) => platform.set(mask.0),
            None => self.own = mask,
        }
    }

    /// Lets guest code change them without a trap. By the thread itself, while nothing is pending. Whether it is lent.
    pub(crate) fn lend(&mut self) -> bool {
        let Some(platform) = &self.platform else { return false };
        if !self.lent {
            platform.open();
            self.lent = true;
        }
        true
    }

    /// Takes them back, if they are lent, before a signal is made pending for their thread, with these bits of `Task::work`; see the
    /// module.
    pub(crate) fn recall(&mut self, set_work: impl FnOnce(u32)) {
        if std::mem::take(&mut self.lent)
            && let Some(platform) = &self.platform
        {
            // In this order: who finds the mask closed looks at its work next.
            set_work(work::RECALLED);
            platform.close();
        }
    }
}

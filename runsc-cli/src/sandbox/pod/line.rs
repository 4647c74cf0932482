//! What comes in over the line of a process.

use std::sync::Arc;

use abi::signal::Signal;
use sentry::fs::host::HostTty;
use sentry::signal::External;
use sentry::task::ThreadGroup;

use super::{Entry, Pod};
use crate::sandbox::control::{Order, SentryEnd, Target};

impl Pod {
    /// Carries out orders for a container's process until the line's other end is gone.
    pub(super) fn obey(&self, entry: &Arc<Entry>, line: &SentryEnd) -> anyhow::Result<()> {
        while let Some(order) = line.receive()? {
            // Before the start there is nobody to signal.
            if let Ok(init) = entry.init() {
                self.carry_out(&init, None, order);
            }
        }
        Ok(())
    }

    /// The same for a process that was added.
    pub(super) fn forward(
        &self,
        group: &Arc<ThreadGroup>,
        terminal: Option<&HostTty>,
        line: &SentryEnd,
    ) -> anyhow::Result<()> {
        while let Some(order) = line.receive()? {
            self.carry_out(group, terminal, order);
        }
        Ok(())
    }

    fn carry_out(&self, group: &Arc<ThreadGroup>, terminal: Option<&HostTty>, order: Order) {
        match order {
            Order::Start => {}
            Order::Signal { signal, value, to } => {
                let Some(signal) = Signal::new(signal.unsigned_abs()) else { return };
                let to = match to {
                    Target::Init => External::Init,
                    Target::Foreground => External::Foreground,
                };
                self.kernel.send_external_signal(group, signal, value, to);
            }
            Order::Continue { foreground } => {
                if let Some(terminal) = terminal {
                    terminal.jobs.set_all_background(!foreground);
                }
                self.kernel.send_external_signal(group, Signal::SIGCONT, 0, External::Init);
            }
        }
    }
}

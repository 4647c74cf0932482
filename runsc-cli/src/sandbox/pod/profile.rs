//! Where the time of a sandbox goes that runs already.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use sentry::task::Task;

use super::Pod;
use crate::profile::Profile;
use crate::sandbox::control::Answer;

/// The longest measurement.
const LONGEST: Duration = Duration::from_secs(600);

impl Pod {
    /// Watches all calls for a time, or until whoever has asked is gone.
    pub(super) fn profile(&self, time: Duration, asker: impl AsFd) -> Answer {
        if time.is_zero() || time > LONGEST {
            return Answer::Refused(format!("a profile takes up to {} s; say how long", LONGEST.as_secs()));
        }
        if !self.table.begin(self.threads()) {
            return Answer::Refused("a profile is being made already; wait for its end".to_owned());
        }
        // Nothing comes but the end of the connection. With an error there, the profile is a short one.
        let waited = host::event::wait_readable(asker, time);
        if let Err(error) = waited {
            tracing::warn!("profile: {error}");
        }
        match self.table.end(&self.threads()) {
            Some(snapshot) => Answer::Profile(Box::new(Profile::of(&snapshot))),
            None => Answer::Refused("the profile was ended; please report this".to_owned()),
        }
    }

    fn threads(&self) -> Vec<Arc<Task>> {
        let containers: Vec<_> = self.containers.lock().values().cloned().collect();
        let groups = containers.iter().flat_map(|entry| self.kernel.processes_of(&entry.tag));
        groups.flat_map(|group| group.threads()).collect()
    }
}

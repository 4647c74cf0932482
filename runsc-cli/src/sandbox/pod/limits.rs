//! What a container is granted, as its kernel has to know it.

use sentry::task::Container;

use crate::config::Limits;

/// Passes on what is given; the rest stays.
pub fn set(container: &Container, limits: &Limits) {
    if let Some(threads) = limits.threads {
        container.set_max_threads(u64::try_from(threads).unwrap_or(u64::MAX));
    }
    let mut grants = container.grants();
    if let Some(bytes) = limits.memory {
        grants.memory = u64::try_from(bytes).ok();
    }
    if let Some(quota) = limits.cpu_quota_us {
        grants.cpu_quota_us = u64::try_from(quota).ok();
    }
    grants.cpu_period_us = limits.cpu_period_us.or(grants.cpu_period_us);
    grants.cpu_shares = limits.cpu_shares.or(grants.cpu_shares);
    container.set_grants(grants);
}

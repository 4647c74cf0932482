//! Choosing and making the platform.

use std::sync::Arc;

use anyhow::Context;
use platform::ptrace::PtracePlatform;
use platform::systrap::{Rewriting, SystrapPlatform};
use platform::{LargeFile, MemoryFile, Platform};

use crate::config::PlatformName;

/// What is tried, the best first.
const ORDER: [PlatformName; 2] = [PlatformName::Systrap, PlatformName::Ptrace];

/// Makes the platform, and says which it is. `large` is for guest memory.
pub fn make(
    name: PlatformName,
    large: Option<LargeFile>,
) -> anyhow::Result<(PlatformName, Arc<dyn Platform>)> {
    if name != PlatformName::Auto {
        return Ok((name, make_one(name, large)?));
    }
    let mut tried = Vec::new();
    for name in ORDER {
        match make_one(name, large.as_ref().and_then(|large| large.try_clone().ok())) {
            Ok(platform) => return Ok((name, platform)),
            Err(error) => {
                tracing::warn!("not used: {error:#}");
                tried.push(format!("{error:#}"));
            }
        }
    }
    anyhow::bail!("no platform works here: {}", tried.join("; "))
}

fn make_one(name: PlatformName, large: Option<LargeFile>) -> anyhow::Result<Arc<dyn Platform>> {
    let memory = MemoryFile::with(None, large).context("guest memory; the host needs memfd_create")?;
    Ok(match name {
        PlatformName::Auto | PlatformName::Systrap | PlatformName::SystrapSignals => {
            let rewriting = if name == PlatformName::SystrapSignals { Rewriting::Off } else { Rewriting::On };
            Arc::new(
                SystrapPlatform::with(memory, rewriting)
                    .context("platform systrap; '--platform=ptrace' may work instead")?,
            )
        }
        PlatformName::Ptrace => Arc::new(
            PtracePlatform::new(memory)
                .context("platform ptrace; the host has to allow tracing, see 'runsc platforms'")?,
        ),
    })
}

/// Why a platform does not work on this host.
pub fn obstacle(name: PlatformName) -> Option<String> {
    // 3: nobody may trace anything, not even its own children (Documentation/admin-guide/LSM/Yama.rst).
    if name == PlatformName::Ptrace
        && std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|s| s.trim() == "3")
    {
        return Some("kernel.yama.ptrace_scope is 3: set it to 2 or less with sysctl".to_owned());
    }
    make_one(name, None).err().map(|error| format!("{error:#}"))
}

/// What `auto` comes to here.
pub fn default() -> Option<PlatformName> {
    ORDER.into_iter().find(|&name| obstacle(name).is_none())
}

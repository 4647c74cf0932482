//! What limits are in the words of systemd, which writes them to the cgroup again whenever it is reloaded.
//!
//! The conversions are runc's. What systemd has no property for is written to the cgroup's files alone, and so is, after
//! systemd, all of the rest.

use oci_spec::runtime::LinuxResources;

use super::super::{CgroupError, host_tasks_limit, v2};
use super::Unit;
use super::wire::{Property, Value, text};

/// The kernel's length of a CPU period, microseconds.
const PERIOD_US: u64 = 100_000;
/// systemd sets quotas in steps of 1 % of a CPU: microseconds a second.
const QUOTA_STEP_US: u64 = 10_000;
/// No limit.
const INFINITY: u64 = u64::MAX;
/// The highest CPU or memory node that a list may name: what the kernel can be built for.
const HIGHEST: usize = 8191;

/// The version of cgroups that a unit's properties are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1, and both beside each other.
    V1,
    /// Version 2 alone.
    V2,
}

/// What is set of limits that an update may change one half of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// The limit on memory, bytes.
    pub memory: Option<i64>,
    /// CPU time in a period, microseconds.
    pub quota: Option<i64>,
    /// The length of that, microseconds.
    pub period: Option<u64>,
}

/// The properties that a unit is begun with.
pub fn of_unit(unit: &Unit, pid: i32, version: Version, given: &[Property]) -> Vec<Property> {
    let description = format!("libcontainer container {}", unit.container);
    let mut all = vec![Property::new("Description", text(description))];
    if unit.name.ends_with(".slice") {
        // The name of a slice says where it is.
        all.push(Property::new("Wants", Value::Array("s", vec![text(&unit.slice)])));
    } else {
        all.push(Property::new("Slice", text(&unit.slice)));
        all.push(Property::new("Delegate", Value::Bool(true)));
        all.push(Property::new("PIDs", Value::Array("u", vec![Value::U32(pid.unsigned_abs())])));
    }
    let io = match version {
        Version::V1 => "BlockIOAccounting",
        Version::V2 => "IOAccounting",
    };
    for accounting in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        all.push(Property::new(accounting, Value::Bool(true)));
    }
    all.push(Property::new("DefaultDependencies", Value::Bool(false)));
    all.extend_from_slice(given);
    all
}

/// The properties for limits, where these are set.
pub fn of_limits(
    resources: &LinuxResources,
    version: Version,
    current: Current,
) -> Result<Vec<Property>, CgroupError> {
    let mut all = Vec::new();
    let mut number = |name, value| all.push(Property::new(name, Value::U64(value)));
    if let Some(memory) = resources.memory() {
        let limit = memory.limit().filter(|value| *value != 0);
        let name = if version == Version::V1 { "MemoryLimit" } else { "MemoryMax" };
        limit.into_iter().for_each(|limit| number(name, unsigned(limit)));
        if version == Version::V2 {
            let reservation = memory.reservation().filter(|value| *value != 0);
            reservation.into_iter().for_each(|value| number("MemoryLow", unsigned(value)));
            // Swap without a limit on memory is about the one that is set.
            let swap = memory.swap().filter(|value| *value != 0);
            let known = if swap.is_some() { limit.or(current.memory) } else { limit };
            v2::swap(known, swap)?.into_iter().for_each(|swap| number("MemorySwapMax", unsigned(swap)));
        }
    }
    if let Some(limit) = resources.pids().and_then(|pids| host_tasks_limit(pids.limit())) {
        number("TasksMax", limit.unwrap_or(INFINITY));
    }
    if version == Version::V1
        && let Some(weight) = resources.block_io().as_ref().and_then(|io| io.weight()).filter(|it| *it != 0)
    {
        number("BlockIOWeight", weight.into());
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
            match version {
                Version::V1 => number("CPUShares", shares),
                Version::V2 => number("CPUWeight", v2::weight(shares)),
            }
        }
        let quota = cpu.quota().filter(|value| *value != 0);
        let period = cpu.period().filter(|value| *value != 0);
        // Of a half that nothing is said of, systemd would have the default.
        match (quota, period) {
            (None, None) => {}
            _ => add_quota(
                &mut all,
                quota.or(current.quota).unwrap_or(0),
                period.or(current.period).unwrap_or(0),
            ),
        }
        add_nodes(&mut all, "AllowedCPUs", cpu.cpus().as_deref().unwrap_or_default())?;
        add_nodes(&mut all, "AllowedMemoryNodes", cpu.mems().as_deref().unwrap_or_default())?;
    }
    if version == Version::V2 {
        for (file, value) in resources.unified().iter().flatten() {
            add_unified(&mut all, file, value.trim())?;
        }
    }
    Ok(all)
}

/// A limit of the specification, where less than zero is none.
fn unsigned(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(INFINITY)
}

fn add_quota(all: &mut Vec<Property>, quota: i64, period: u64) {
    if period != 0 {
        all.push(Property::new("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    if quota != 0 || period != 0 {
        let period = if period == 0 { PERIOD_US } else { period };
        let a_second = match u64::try_from(quota) {
            Ok(quota @ 1..) => {
                // Rounded up: groups below are to get all that the file grants.
                let exact = u128::from(quota) * 1_000_000 / u128::from(period);
                u64::try_from(exact).unwrap_or(INFINITY).checked_next_multiple_of(QUOTA_STEP_US)
            }
            _ => None,
        };
        all.push(Property::new("CPUQuotaPerSecUSec", Value::U64(a_second.unwrap_or(INFINITY))));
    }
}

/// A list of CPUs or memory nodes as a set of bits, the lowest first.
fn add_nodes(all: &mut Vec<Property>, name: &str, list: &str) -> Result<(), CgroupError> {
    if list.is_empty() {
        return Ok(());
    }
    let wrong = || CgroupError::Unusable(format!("{name} {list:?}: no list of numbers; write it like 0-2,7"));
    let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number <= HIGHEST);
    let mut bits = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Some(first), Some(last)) = (number(first), number(last)) else { return Err(wrong()) };
        if first > last {
            return Err(wrong());
        }
        bits.resize(bits.len().max(last / 8 + 1), 0_u8);
        (first..=last).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
    }
    let bits = bits.into_iter().map(Value::Byte).collect();
    all.push(Property::new(name, Value::Array("y", bits)));
    Ok(())
}

/// A file of version 2, where there is a property for it.
fn add_unified(all: &mut Vec<Property>, file: &str, value: &str) -> Result<(), CgroupError> {
    let wrong = || CgroupError::Unusable(format!("{file} {value:?}: no number; choose another value"));
    let limit = |text: &str| if text == "max" { Ok(INFINITY) } else { text.parse().map_err(|_| wrong()) };
    let name = match file {
        "cpu.max" => {
            let mut fields = value.split_whitespace();
            let quota = limit(fields.next().unwrap_or_default())?;
            let period = fields.next().map_or(Ok(PERIOD_US), limit)?;
            add_quota(all, i64::try_from(quota).unwrap_or(0), period);
            return Ok(());
        }
        "cpuset.cpus" => return add_nodes(all, "AllowedCPUs", value),
        "cpuset.mems" => return add_nodes(all, "AllowedMemoryNodes", value),
        "cpu.weight" => "CPUWeight",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return Ok(()),
    };
    all.push(Property::new(name, Value::U64(limit(value)?)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Owner;
    use super::*;

    fn of(resources: serde_json::Value, version: Version) -> Vec<(String, Value)> {
        let resources = serde_json::from_value(resources).unwrap();
        let all = of_limits(&resources, version, Current::default()).unwrap();
        all.into_iter().map(|property| (property.name, property.value)).collect()
    }

    fn numbers(all: &[(&str, u64)]) -> Vec<(String, Value)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), Value::U64(*value))).collect()
    }

    #[test]
    fn limits_are_properties() {
        let limits = json!({
            "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
            "pids": {"limit": 10},
            "blockIO": {"weight": 300},
            "cpu": {"shares": 1024, "quota": 50_000, "period": 200_000},
        });
        assert_eq!(
            of(limits.clone(), Version::V2),
            numbers(&[
                ("MemoryMax", 1000),
                ("MemoryLow", 500),
                ("MemorySwapMax", 2000),
                ("TasksMax", 168),
                ("CPUWeight", 39),
                ("CPUQuotaPeriodUSec", 200_000),
                ("CPUQuotaPerSecUSec", 250_000),
            ])
        );
        assert_eq!(
            of(limits, Version::V1),
            numbers(&[
                ("MemoryLimit", 1000),
                ("TasksMax", 168),
                ("BlockIOWeight", 300),
                ("CPUShares", 1024),
                ("CPUQuotaPeriodUSec", 200_000),
                ("CPUQuotaPerSecUSec", 250_000),
            ])
        );
        let none = json!({"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}});
        let names = ["MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec"];
        assert_eq!(of(none, Version::V2), numbers(&names.map(|name| (name, INFINITY))));
        let nothing = json!({"memory": {"limit": 0}, "pids": {"limit": 0}, "cpu": {"quota": 0, "cpus": ""}});
        assert_eq!(of(nothing, Version::V2), []);
    }

    #[test]
    fn updates_keep_the_other_half() {
        let current = Current { memory: Some(1000), quota: Some(10_000), period: Some(50_000) };
        let of = |resources| {
            let resources = serde_json::from_value(resources).unwrap();
            let all = of_limits(&resources, Version::V2, current).unwrap();
            all.into_iter().map(|property| (property.name, property.value)).collect::<Vec<_>>()
        };
        assert_eq!(of(json!({"memory": {"swap": 3000}})), numbers(&[("MemorySwapMax", 2000)]));
        let quota = [("CPUQuotaPeriodUSec", 50_000), ("CPUQuotaPerSecUSec", 400_000)];
        assert_eq!(of(json!({"cpu": {"quota": 20_000}})), numbers(&quota));
        let period = [("CPUQuotaPeriodUSec", 20_000), ("CPUQuotaPerSecUSec", 500_000)];
        assert_eq!(of(json!({"cpu": {"period": 20_000}})), numbers(&period));
        assert_eq!(of(json!({"cpu": {"shares": 2}})), numbers(&[("CPUWeight", 1)]));
    }

    #[test]
    fn quotas_are_rounded_up() {
        let quota = |quota: i64, period: u64| {
            let mut all = Vec::new();
            add_quota(&mut all, quota, period);
            all.pop().map(|property| property.value)
        };
        assert_eq!(quota(10_001, 0), Some(Value::U64(110_000)));
        assert_eq!(quota(10_000, 0), Some(Value::U64(100_000)));
        assert_eq!(quota(i64::MAX, 1), Some(Value::U64(INFINITY)));
        assert_eq!(quota(0, 50_000), Some(Value::U64(INFINITY)));
        assert_eq!(quota(0, 0), None);
    }

    #[test]
    fn lists_are_bits() {
        let bits = |list: &str| {
            let mut all = Vec::new();
            add_nodes(&mut all, "AllowedCPUs", list).map(|()| all.pop().unwrap().value)
        };
        let bytes = |bytes: &[u8]| Value::Array("y", bytes.iter().copied().map(Value::Byte).collect());
        assert_eq!(bits("0").unwrap(), bytes(&[1]));
        assert_eq!(bits("0-2,7").unwrap(), bytes(&[0b1000_0111]));
        assert_eq!(bits("17,1-1").unwrap(), bytes(&[2, 0, 2]));
        for wrong in ["x", "1-", "-1", "3-1", "8192", "0,", "99999999999999999999"] {
            assert!(bits(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_are_properties() {
        let unified = json!({"unified": {"memory.high": "900"}});
        assert_eq!(of(unified.clone(), Version::V2), numbers(&[("MemoryHigh", 900)]));
        assert_eq!(of(unified, Version::V1), []);
        let quota = json!({"unified": {"cpu.max": "max 50000"}});
        let both = [("CPUQuotaPeriodUSec", 50_000), ("CPUQuotaPerSecUSec", INFINITY)];
        assert_eq!(of(quota, Version::V2), numbers(&both));
        assert_eq!(
            of(json!({"unified": {"pids.max": "max"}}), Version::V2),
            numbers(&[("TasksMax", INFINITY)])
        );
        assert_eq!(of(json!({"unified": {"memory.oom.group": "1"}}), Version::V2), []);
        let wrong = serde_json::from_value(json!({"unified": {"memory.high": "x"}})).unwrap();
        assert!(of_limits(&wrong, Version::V2, Current::default()).is_err());
    }

    #[test]
    fn a_unit_is_a_scope_or_a_slice() {
        let names = |name: &str| {
            let unit = Unit::of(Some(&format!("a.slice:p:{name}")), "id", Owner::System).unwrap();
            let all = of_unit(&unit, 7, Version::V2, &[]);
            all.into_iter().map(|property| property.name).collect::<Vec<_>>()
        };
        assert!(names("x").contains(&"Slice".to_owned()) && names("x").contains(&"PIDs".to_owned()));
        assert!(
            names("x.slice").contains(&"Wants".to_owned()) && !names("x.slice").contains(&"PIDs".to_owned())
        );
    }
}

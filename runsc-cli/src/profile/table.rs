//! A profile as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Call, Profile, ms};

/// By program, then by call, then how long the calls took.
pub fn table(profile: &Profile) -> String {
    let mut out = format!(
        "{} ms measured. Times are sums over all threads, in ms, {} each way to guest code and back.\n\n",
        ms(profile.wall_ns),
        duration(profile.hand_over_ns)
    );
    programs(&mut out, profile);
    let calls = sums(profile);
    each_call(&mut out, &calls);
    histograms(&mut out, &calls);
    out.push_str(
        "\nguest code and hand-over can't be told apart by looking from outside: hand-over is taken to be as long as the\n\
         shortest stays in the platform (5th percentile). Waiting in calls is not part of the calls' times.\n",
    );
    out
}

fn programs(out: &mut String, profile: &Profile) {
    let _ = writeln!(
        out,
        "{:<16} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>9} {:>9}",
        "PROGRAM", "guest code", "hand-over", "run loop", "faults", "calls", "waiting", "traps", "faults"
    );
    let mut programs: Vec<_> = profile.programs.iter().collect();
    programs.sort_by_key(|program| std::cmp::Reverse(program.all_ns()));
    for program in programs {
        let _ = writeln!(
            out,
            "{:<16} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>9} {:>9}",
            program.name,
            ms(program.guest_ns(profile.hand_over_ns)),
            ms(program.hand_over_ns(profile.hand_over_ns)),
            ms(program.loop_ns),
            ms(program.faults_ns),
            ms(program.busy_ns()),
            ms(program.waited_ns()),
            program.stay_count,
            program.faults
        );
    }
}

/// Calls of all programs, the most expensive first. Percentiles are those of the program that made most of them.
fn sums(profile: &Profile) -> Vec<Call> {
    let mut sums: BTreeMap<&str, (u64, Call)> = BTreeMap::new();
    for call in profile.programs.iter().flat_map(|program| &program.calls) {
        let Some((most, sum)) = sums.get_mut(call.name.as_str()) else {
            sums.insert(&call.name, (call.count, call.clone()));
            continue;
        };
        if call.count > *most {
            *most = call.count;
            sum.percentiles_ns = call.percentiles_ns;
        }
        sum.count += call.count;
        sum.errors += call.errors;
        sum.busy_ns += call.busy_ns;
        sum.waited_ns += call.waited_ns;
        sum.longest_ns = sum.longest_ns.max(call.longest_ns);
        sum.gofer_ns += call.gofer_ns;
        sum.gofer_requests += call.gofer_requests;
        for (power, count) in &call.doublings {
            match sum.doublings.iter_mut().find(|(there, _)| there == power) {
                Some((_, sum)) => *sum += count,
                None => sum.doublings.push((*power, *count)),
            }
        }
    }
    let mut calls: Vec<Call> = sums.into_values().map(|(_, call)| call).collect();
    calls.iter_mut().for_each(|call| call.doublings.sort_unstable());
    calls.sort_by_key(|call| std::cmp::Reverse(call.busy_ns));
    calls
}

fn each_call(out: &mut String, calls: &[Call]) {
    let _ = writeln!(
        out,
        "\n{:<20} {:>8} {:>8} {:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>12} {:>8} {:>12}",
        "CALL",
        "count",
        "errors",
        "time",
        "mean",
        "p50",
        "p90",
        "p99",
        "longest",
        "gofer",
        "requests",
        "waiting"
    );
    for call in calls {
        let [p50, p90, p99] = call.percentiles_ns.map(duration);
        let _ = writeln!(
            out,
            "{:<20} {:>8} {:>8} {:>12} {:>9} {p50:>9} {p90:>9} {p99:>9} {:>9} {:>12} {:>8} {:>12}",
            call.name,
            call.count,
            call.errors,
            ms(call.busy_ns),
            duration(call.busy_ns / call.count.max(1)),
            duration(call.longest_ns),
            ms(call.gofer_ns),
            call.gofer_requests,
            ms(call.waited_ns)
        );
    }
}

fn histograms(out: &mut String, calls: &[Call]) {
    out.push_str("\nHOW LONG CALLS TOOK\n");
    for call in calls {
        let _ = writeln!(out, "{}", call.name);
        let most = call.doublings.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
        for (power, count) in &call.doublings {
            let bar = "#".repeat((count * 40).div_ceil(most) as usize);
            let _ = writeln!(out, "    below {:>8} {count:>9} {bar}", duration(1 << power));
        }
    }
}

/// With a unit that suits it.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

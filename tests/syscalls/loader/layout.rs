//! Where a fresh program's memory lies.

use crate::kit::prelude::*;

/// `(first, end, permissions, name)`
fn maps() -> Vec<(usize, usize, String, String)> {
    text(c"/proc/self/maps")
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (first, end) = words.next()?.split_once('-')?;
            let permissions = words.next()?.to_string();
            let name = words.nth(3).unwrap_or_default().to_string();
            Some((
                usize::from_str_radix(first, 16).ok()?,
                usize::from_str_radix(end, 16).ok()?,
                permissions,
                name,
            ))
        })
        .collect()
}

#[track_caller]
fn named(name: &str) -> (usize, usize, String) {
    match maps().into_iter().find(|m| m.3 == name) {
        Some((first, end, permissions, _)) => (first, end, permissions),
        None => fail(format_args!("nothing is called {name}: {:?}", maps())),
    }
}

case!(stack_and_vdso: execve);
fn stack_and_vdso() {
    let on_stack = 0u8;
    let here = &raw const on_stack as usize;
    let (first, end, permissions) = named("[stack]");
    check(first <= here && here < end, "this variable is in it");
    eq(permissions, "rw-p");
    check(end > 0x7ff0_0000_0000, "near the end of user space");
    let (first, end, permissions) = named("[vdso]");
    eq(permissions, "r-xp");
    check(end - first >= PAGE, "a page");
}

case!(maps_are_in_order: execve);
fn maps_are_in_order() {
    let all = maps();
    for pair in all.windows(2) {
        check(pair[0].0 < pair[0].1 && pair[0].1 <= pair[1].0, format_args!("{pair:?}"));
    }
    let own = program().to_string_lossy();
    let file = own.rsplit('/').next().unwrap_or_default().to_string();
    let text = all.iter().find(|m| m.3.ends_with(&file) && m.2 == "r-xp");
    let code = maps_are_in_order as *const () as usize;
    check(text.is_some_and(|m| m.0 <= code && code < m.1), "this code is in the program's text");
}

case!(heap_follows_the_program: brk, execve);
fn heap_follows_the_program() {
    let now = ok(sys!(brk, 0)) as usize;
    ok(sys!(brk, now + PAGE));
    let (first, end, permissions) = named("[heap]");
    check(first <= now && now < end, "the heap ends at the break");
    eq(permissions, "rw-p");
    let own = program().to_string_lossy();
    let file = own.rsplit('/').next().unwrap_or_default().to_string();
    let last = maps().iter().filter(|m| m.3.ends_with(&file)).map(|m| m.1).max().unwrap_or(usize::MAX);
    check(first >= last, "behind the program");
}

case!(places_change: execve);
fn places_change() {
    let seen: Vec<String> = (0..4).map(|_| probe(c"places", || {})).collect();
    for field in 0..3 {
        let values: Vec<&str> = seen.iter().map(|s| s.split(' ').nth(field).unwrap_or_default()).collect();
        check(values[1..].iter().any(|v| *v != values[0]), format_args!("field {field}: {values:?}"));
    }
}

case!(places_stay_without_randomisation: execve, personality);
fn places_stay_without_randomisation() {
    let fixed = || {
        probe(c"places", || {
            ok(sys!(personality, 0x004_0000));
        })
    };
    eq(fixed(), fixed());
}

case!(stack_limit_is_room_to_grow: execve, prlimit64);
fn stack_limit_is_room_to_grow() {
    // Mappings keep out of the stack's way as far as the limit reaches.
    let (_, end, _) = named("[stack]");
    let page = map(PAGE, RW);
    check(page < end - (8 << 20), "below the room of the stack");
}

case!(arguments_are_in_proc: execve, openat);
fn arguments_are_in_proc() {
    let child = fork(|| {
        ok(exec(program(), &[c"zero", c"probe", c"sleep"], &[c"A=b", c"C="]));
    });
    let name = |what: &str| std::ffi::CString::new(format!("/proc/{}/{what}", child.pid)).unwrap_or_default();
    eventually("the program runs", || content(&name("cmdline")).starts_with(b"zero\0"));
    eq(content(&name("cmdline")), b"zero\0probe\0sleep\0");
    eq(content(&name("environ")), b"A=b\0C=\0");
    eq(text(&name("comm")), "cases\n");
    child.end();
}

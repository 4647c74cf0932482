//! What the benchmark runs inside: `bench-guest METRIC` does one thing often and prints nanoseconds for each time.
//!
//! Other words, for the benchmark's own use: `nothing` ends at once, `run N PROGRAM…` times a program, `hold` keeps
//! processes and threads for a look at their memory, `count OPERATION N` does an operation when told to.

mod calls;
mod files;
mod hold;
mod ipc;
mod memory;
mod switches;
mod tasks;
mod timing;

use timing::per_call;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ns = match words[..] {
        ["nothing"] => return,
        ["hold", kind, count] => return hold::hold(kind, number(count)),
        ["count", operation, times] => return hold::count(operation, number(times)),
        ["run", times, ref program @ ..] if !program.is_empty() => tasks::run(number(times), program),
        [metric] => measure(metric),
        _ => panic!("usage: bench-guest METRIC"),
    };
    println!("{ns:.1}");
}

fn number(word: &str) -> u32 {
    word.parse().expect("a number is a number")
}

fn measure(metric: &str) -> f64 {
    match metric {
        "getpid" => per_call(calls::getpid),
        "getppid" => per_call(calls::getppid),
        "getppid_syscall" => per_call(calls::getppid_syscall),
        "umask" => per_call(calls::umask),
        "umask_syscall" => per_call(calls::umask_syscall),
        "umask_unpatchable" => per_call(calls::unpatchable_umask()),
        "umask_busy" => tasks::with_busy_cpus(|| per_call(calls::umask)),
        "clock_gettime" => per_call(calls::clock_gettime),
        "open_close" => per_call(|| files::open_close(c"/etc/passwd")),
        "stat" => per_call(|| files::stat(c"/etc/passwd")),
        "pread_4k" => files::pread(c"/bin/true"),
        "open_close_tmpfs" => files::on_tmpfs(|path| per_call(|| files::open_close(path))),
        "stat_tmpfs" => files::on_tmpfs(|path| per_call(|| files::stat(path))),
        "pread_4k_tmpfs" => files::on_tmpfs(files::pread),
        "open_10k_files" => files::open_many(c"/etc/passwd", 10_000),
        "open_100k_files" => files::open_many(c"/etc/passwd", 100_000),
        "make_10k_files" => files::make_many(10_000),
        "make_200k_files" => files::make_many(200_000),
        "write_null" => files::write_null(),
        "pipe_round_trip" => ipc::pipe_round_trip(),
        "unix_round_trip" => ipc::unix_round_trip(),
        "futex_round_trip" => ipc::futex_round_trip(),
        "signal" => ipc::signal(),
        "epoll_wait_64" => ipc::epoll_wait(64),
        "mmap_touch_munmap" => per_call(memory::mmap_touch_munmap),
        "page_fault" => memory::page_fault(),
        "mprotect" => memory::mprotect(),
        "fork_wait" => per_call(|| tasks::fork_wait(None)),
        "fork_exec_wait" => tasks::fork_exec_wait(),
        "vfork_exec_wait" => per_call(tasks::vfork_exec_true),
        "vfork_exec_static_wait" => tasks::vfork_exec_self(),
        "thread" => per_call(tasks::thread),
        "switch_1" => switches::ring(1),
        "switch_2" => switches::ring(2),
        "switch_8" => switches::ring(8),
        "switch_64" => switches::ring(64),
        other => panic!("no metric is called {other:?}"),
    }
}

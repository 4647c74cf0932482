//! What is measured.

/// A figure: its name, the group it is asked for with, its unit, and how it is measured.
pub struct Metric {
    /// Name, unique.
    pub name: &'static str,
    /// Group.
    pub group: &'static str,
    /// Unit of its values.
    pub unit: &'static str,
    /// How.
    pub how: How,
}

/// How a figure is measured.
#[derive(Clone, Copy)]
pub enum How {
    /// Wall time of the whole command, sandbox included.
    Start(&'static [&'static str]),
    /// The guest program measures itself.
    Guest,
    /// The guest program times so many runs of another, in a sandbox that runs already.
    Inside(u32, &'static [&'static str]),
    /// A script of [`crate::programs`], which prints its time.
    Script(&'static str),
    /// Pss of all processes of a sandbox that holds `sleep`.
    IdlePss,
    /// Their number.
    IdleProcesses,
    /// Pss of so many such sandboxes, for each.
    ManyPss(usize),
    /// What each more of so many processes or threads of a guest takes.
    PssOf(&'static str, u64),
    /// A runtime's `run` of `true`.
    ContainerRun,
    /// A runtime's `exec` of `true`.
    ContainerExec,
    /// Pss for each of so many containers of a runtime.
    ContainersPss(usize),
    /// Host calls of all processes of a sandbox for one operation.
    HostCalls(&'static str, u32),
}

const fn metric(group: &'static str, unit: &'static str, name: &'static str, how: How) -> Metric {
    Metric { name, group, unit, how }
}

const fn micro(name: &'static str) -> Metric {
    metric("micro", "ns", name, How::Guest)
}

const fn start(name: &'static str, program: &'static [&'static str]) -> Metric {
    metric("start", "ms", name, How::Start(program))
}

const fn inside(name: &'static str, times: u32, program: &'static [&'static str]) -> Metric {
    metric("macro", "ms", name, How::Inside(times, program))
}

const fn script(name: &'static str) -> Metric {
    metric("macro", "ms", name, How::Script(name))
}

const fn host_calls(name: &'static str, operation: &'static str, times: u32) -> Metric {
    metric("host-calls", "calls", name, How::HostCalls(operation, times))
}

/// The group of what is measured on OCI runtimes: `runc` is what others are compared with, and peers are runtimes.
pub const CONTAINERS: &str = "containers";

/// All figures, in the order of the report.
pub const METRICS: &[Metric] = &[
    micro("getpid"),
    micro("getppid"),
    micro("getppid_syscall"),
    micro("umask"),
    micro("umask_syscall"),
    micro("umask_unpatchable"),
    micro("umask_busy"),
    micro("clock_gettime"),
    micro("open_close"),
    micro("stat"),
    micro("pread_4k"),
    micro("open_close_tmpfs"),
    micro("stat_tmpfs"),
    micro("pread_4k_tmpfs"),
    micro("open_10k_files"),
    micro("open_100k_files"),
    micro("make_10k_files"),
    micro("make_200k_files"),
    micro("write_null"),
    micro("pipe_round_trip"),
    micro("unix_round_trip"),
    micro("futex_round_trip"),
    micro("signal"),
    micro("epoll_wait_64"),
    micro("mmap_touch_munmap"),
    micro("page_fault"),
    micro("mprotect"),
    micro("fork_wait"),
    micro("fork_exec_wait"),
    micro("vfork_exec_wait"),
    micro("vfork_exec_static_wait"),
    micro("thread"),
    micro("switch_1"),
    micro("switch_2"),
    micro("switch_8"),
    micro("switch_64"),
    start("start_true", &["/bin/true"]),
    start("start_python", &["python3", "-c", "pass"]),
    start("start_node", &["node", "-e", "0"]),
    inside("inside_true", 20, &["/bin/true"]),
    inside("inside_python", 5, &["python3", "-c", "pass"]),
    inside("inside_java", 1, &["java", "-version"]),
    inside("sysbench_cpu", 1, &["sysbench", "cpu", "--events=1000", "--time=0", "run"]),
    script("tar"),
    script("tar_usr"),
    script("read_1g"),
    script("write_1g"),
    script("find_usr"),
    script("git_status"),
    script("gcc_build"),
    script("compileall"),
    script("sqlite_inserts"),
    script("redis_unix"),
    script("redis_loopback"),
    metric("memory", "KiB", "idle_pss", How::IdlePss),
    metric("memory", "count", "idle_processes", How::IdleProcesses),
    metric("memory", "KiB", "pss_each_of_100", How::ManyPss(100)),
    metric("memory", "KiB", "pss_per_process", How::PssOf("processes", 40)),
    metric("memory", "KiB", "pss_per_thread", How::PssOf("threads", 40)),
    metric(CONTAINERS, "ms", "container_run", How::ContainerRun),
    metric(CONTAINERS, "ms", "container_exec", How::ContainerExec),
    metric(CONTAINERS, "KiB", "container_idle_pss", How::ContainersPss(1)),
    metric(CONTAINERS, "KiB", "pss_each_of_100_containers", How::ContainersPss(100)),
    host_calls("calls_umask", "umask", 1000),
    host_calls("calls_open_close", "open_close", 500),
    host_calls("calls_stat", "stat", 500),
    host_calls("calls_mmap_touch_munmap", "mmap_touch_munmap", 200),
    host_calls("calls_thread", "thread", 100),
    host_calls("calls_fork_wait", "fork_wait", 100),
    host_calls("calls_vfork_exec_wait", "vfork_exec_wait", 50),
];

/// The figures that a word asks for: a name, a group, or the beginning of names.
pub fn asked(word: &str) -> Vec<&'static Metric> {
    let exactly: Vec<_> = METRICS.iter().filter(|m| m.name == word || m.group == word).collect();
    if exactly.is_empty() { METRICS.iter().filter(|m| m.name.starts_with(word)).collect() } else { exactly }
}

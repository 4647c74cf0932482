//! The kernel: tasks, memory, files, signals, time.

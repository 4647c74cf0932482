//! Host calls: the one place for raw libc, with RAII.

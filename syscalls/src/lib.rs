//! The system call table: dispatch, strace lines and the compat matrix come from it.

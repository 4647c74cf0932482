//! Tasks: how processes and threads begin, live and end.

mod fork;

//! OCI runtime and one-line sandbox command.

fn main() {}

//! Copies that survive a fault on the host mapping.

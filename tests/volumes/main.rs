//! Host trees in a sandbox while somebody else is at them: what others change is seen in shared volumes, what they swap
//! leads nowhere, what is hostile hangs nothing, and a lost Gofer or a full disk is an error and no more.

#![forbid(unsafe_code)]

mod fifos;
mod full;
mod guest;
mod hostile;
mod layer;
mod listed;
mod lost;
mod shared;
mod sockets;
mod swap;

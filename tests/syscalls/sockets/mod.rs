//! Sockets of AF_UNIX.

mod socket_messages;
mod socket_names;
mod socket_options;
mod unix_control;
mod unix_datagram;
mod unix_seqpacket;
mod unix_stream;

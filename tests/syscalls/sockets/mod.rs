//! Sockets of AF_UNIX, AF_INET and AF_INET6.

mod inet_tcp;
mod inet_udp;
mod socket_messages;
mod socket_names;
mod socket_options;
mod unix_control;
mod unix_datagram;
mod unix_seqpacket;
mod unix_stream;

//! The ports of the host that services publish, held by a process of its own.
//!
//! In: a table of routes (address → containers) from the containers duty, over a local socket. Out: connections and
//! datagrams, forwarded. The process holds the listening sockets for as long as a service is in the file, so an update
//! only exchanges the targets behind them: new connections go to the new container, those of the old one are drained,
//! and while there is no target they wait in the socket's queue instead of being refused.
//!
//! It outlives the agent: a restart, an upgrade or a SIGKILL of the agent touches no connection. The table lies in the
//! runtime folder, and under systemd the sockets are in the service's file descriptor store, so a restart of this
//! process refuses no connection either; only those that it was carrying end.
//!
//! Clients of other hosts are taken past it by the kernel (`kernel`), where the host allows that. Why both:
//! `docs/containers.md`, "How host ports are held".

/// The connections of each container, and how they are told to leave it.
mod attached;
/// Much data from one socket to another.
mod bulk;
/// What the duty calls.
mod client;
/// The local socket that takes tables.
mod control;
/// Whose turn it is to speak.
mod exchange;
/// The sockets and what is behind them.
mod forwarder;
/// The kernel's own way, for clients of other hosts.
mod kernel;
/// The descriptor store of systemd, and sockets made here.
mod listening;
/// Connections that the kernel carried before, and that are carried on here.
mod moved;
/// One connection to one target, which may be left at the border of two requests.
mod relay;
/// The process.
mod run;
/// What is told between the duty and the process.
mod table;
/// A TCP port.
mod tcp;
/// A UDP port.
mod udp;

pub use client::{Client, socket};
pub use kernel::{Kernel, direct};
pub use listening::has_ipv6;
pub use run::run;
pub use table::{Answer, Listen, Protocol, Request, Route, Target};

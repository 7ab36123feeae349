//! How a service's containers are exchanged: what enters is what is wanted and what is there, what leaves is which
//! phase each container's place is in, and who gets its traffic.
//!
//! Nothing of an exchange under way needs to be remembered: an old and a new container of one place are told apart by
//! what they were made from, so that after a crash at any moment the next round goes on. What survives a restart is
//! which version was good and which was refused (`versions`).

/// Which published ports the agent holds itself.
pub mod held_ports;
/// Which of the two comes first, and why.
pub mod order;
/// The places of a service's containers, and how far each is.
pub mod place;
/// Tells the process that holds the ports.
pub mod switchboard;
/// Who is behind the ports that the agent holds.
pub mod traffic;
/// Whether a new container is good.
pub mod trial;
/// The good and the refused versions of each service: durable.
pub mod versions;

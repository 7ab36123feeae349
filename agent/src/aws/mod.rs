//! Whose requests to AWS they are, for every duty that sends some.
//!
//! In: what the configuration says of credentials. Out: credentials that are valid now. Nothing survives.

/// Credentials that are found when they are needed, and again before they end.
mod identity;
/// Credentials of instances and containers.
mod role;

pub use identity::Identity;

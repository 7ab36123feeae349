//! What unit tests share.

/// How much tests allocate.
pub mod allocations;
/// A server that answers as a test says.
pub mod canned;

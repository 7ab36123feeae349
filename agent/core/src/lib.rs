//! What bootstrap and agent must agree on, and nothing else.

/// Files replaced as a whole: temporary file, fsync, rename, fsync of the folder.
pub mod atomic_file;
/// Bounded, jittered exponential backoff.
pub mod backoff;
/// Buckets: the only place that builds an S3 client; a folder is a bucket too.
pub mod bucket;
/// The one file, `agent.yaml`: a module per section.
pub mod config;
/// Objects of buckets that are kept as files of this host.
pub mod fetch;
/// Bytes as hexadecimal digits.
pub mod hex;
/// Durable records that are appended.
pub mod journal;
/// A client of the agent's local socket.
pub mod local_api;
/// Log lines of the program itself: to the journal under systemd, plain on a terminal.
pub mod logging;
/// What everybody on the host may read.
pub mod permissions;
/// Secrets by reference, and a value type that never prints itself.
pub mod secret;
/// Durable state: versioned, atomic, fsynced.
pub mod state;
/// What a duty last said of itself.
pub mod status;
/// Paths in durable state.
pub mod stored_path;
/// What others wrote, as it may go to a terminal.
pub mod terminal;
/// TLS: the only place that sets it up.
pub mod tls;
/// YAML into a tree that knows where each node stands.
pub mod yaml;

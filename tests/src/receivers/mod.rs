//! Log platforms that no package has: fakes, written from the protocols' specifications, which check every byte that
//! comes in and keep what a real one would keep.

/// Elasticsearch and OpenSearch, as far as `_bulk` goes.
pub mod bulk;
/// An HTTP/1.1 server on a thread of its own, with faults to order.
pub mod http_server;
/// Logstash's input for Beats.
pub mod lumberjack;

pub use bulk::BulkPlatform;
pub use http_server::{Fault, HttpServer, Reply, Request};
pub use lumberjack::LumberjackServer;

//! Log platforms and receivers that no package has: fakes, written from the protocols' specifications, which check every byte that
//! comes in and keep what a real one would keep.

/// Elasticsearch and OpenSearch, as far as `_bulk` goes.
pub mod bulk;
/// An HTTP/1.1 server on a thread of its own, with faults to order.
pub mod http_server;
/// Whatever takes lines with a POST.
pub mod lines;
/// Connections, accepted and served through outages.
pub mod listening;
/// Grafana Loki, as far as pushing goes.
pub mod loki;
/// Logstash's input for Beats.
pub mod lumberjack;
/// An OpenTelemetry collector that has its requests decoded by somebody else's program.
pub mod otlp;
/// Protocol Buffers' wire format.
mod protobuf;
/// A receiver of Prometheus' remote-write protocol.
pub mod remote_write;

pub use bulk::BulkPlatform;
pub use http_server::{Fault, HttpServer, Reply, Request};
pub use lines::Lines;
pub use loki::LokiPlatform;
pub use lumberjack::LumberjackServer;
pub use otlp::OtlpCollector;
pub use remote_write::RemoteWriteReceiver;

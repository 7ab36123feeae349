//! Real servers on loopback: what a test asks for is a started engine, what it gets answers already.
//!
//! Each engine has a folder and ports of its own and is stopped on drop. The Docker Engine alone is shared by all
//! tests of this machine, because two of them would fight over one bridge and one firewall (see `docker_daemon`).

/// The Docker Engine, and images made from folders.
pub mod docker;
/// The life of a private Docker Engine that several test processes share.
mod docker_daemon;
/// Flowgger, the receiver behind OVH's Log Data Platform.
pub mod flowgger;
/// Journal files, made by systemd-journal-remote.
pub mod journal;
/// OpenStack's Keystone.
pub mod keystone;
/// moto, which stands for AWS.
pub mod moto;
/// Prometheus' node_exporter.
pub mod node_exporter;
/// A Docker Engine that one test alone uses, so that it can be stopped and killed.
pub mod own_engine;
/// Podman's service, which answers as a Docker Engine does.
pub mod podman;
/// Prometheus, scraping the targets of a test.
pub mod prometheus;
/// Python with packages.
pub mod python;
/// An image registry.
pub mod registry;
/// Ceph's RADOS Gateway.
pub mod rgw;
/// rsyslog, which writes down what it receives.
pub mod rsyslog;
/// s3s-fs, an S3 API with AWS' semantics.
pub mod s3s;
/// OpenStack Swift with its S3 API.
pub mod swift;

pub use docker::Docker;
pub use flowgger::Flowgger;
pub use keystone::Keystone;
pub use moto::Moto;
pub use node_exporter::NodeExporter;
pub use own_engine::OwnEngine;
pub use podman::Podman;
pub use prometheus::Prometheus;
pub use registry::Registry;
pub use rgw::Rgw;
pub use rsyslog::Rsyslog;
pub use s3s::S3sFs;
pub use swift::Swift;

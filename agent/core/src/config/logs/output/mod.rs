//! An output: one kind of platform with its settings, and how its batches are made.

/// Objects of a bucket.
pub mod archive;
/// Elasticsearch and OpenSearch.
pub mod bulk;
/// Amazon CloudWatch Logs.
pub mod cloudwatch;
/// What our fields are called.
pub mod fields;
/// Graylog's format.
pub mod gelf;
/// Anything that takes lines with a POST.
pub mod http;
/// Grafana Loki.
pub mod loki;
/// Logstash's input for Beats.
pub mod lumberjack;
/// OpenTelemetry.
pub mod otlp;
/// OVH's Log Data Platform.
pub mod ovh;
/// Where a stream of bytes goes.
pub mod receiver;
/// Syslog over TCP.
pub mod syslog;

pub use crate::config::endpoint::Endpoint;
pub use archive::Archive;
pub use bulk::Bulk;
pub use cloudwatch::CloudWatch;
pub use fields::Fields;
pub use gelf::Gelf;
pub use http::Http;
pub use loki::Loki;
pub use lumberjack::Lumberjack;
pub use otlp::Otlp;
pub use ovh::Ovh;
pub use receiver::Receiver;
pub use syslog::{Framing, Syslog};

use crate::config::Known;
use crate::config::section::Section;
use crate::config::values::{AbsolutePath, ByteSize};
use crate::secret::SecretError;
use std::path::PathBuf;
use std::time::Duration;

/// Where lines go, and in what portions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The log platform, or a file.
    pub platform: Platform,
    /// What is sent at once, and after a crash once more.
    pub batch: Batch,
}

/// A log platform, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platform {
    /// RFC 5424 messages over TCP or TLS.
    Syslog(Syslog),
    /// GELF messages over TCP, TLS or UDP.
    Gelf(Gelf),
    /// JSON lines appended to a file.
    File(PathBuf),
    /// Objects of a bucket.
    Archive(Box<Archive>),
    /// OVH's Log Data Platform, by one of several protocols.
    Ovh(Box<Ovh>),
    /// Logstash, and others that Filebeat sends to.
    Lumberjack(Lumberjack),
    /// Elasticsearch or OpenSearch.
    Bulk(Box<Bulk>),
    /// A POST to a URL.
    Http(Box<Http>),
    /// Grafana Loki.
    Loki(Box<Loki>),
    /// OpenTelemetry.
    Otlp(Box<Otlp>),
    /// Amazon CloudWatch Logs.
    CloudWatch(Box<CloudWatch>),
}

/// The most that is sent before the platform acknowledges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Bytes of lines as they are in their files.
    pub bytes: ByteSize,
    /// Lines.
    pub lines: usize,
    /// How long a line may wait for others to share a request with.
    pub age: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { bytes: ByteSize(1 << 20), lines: 10_000, age: Duration::from_millis(100) }
    }
}

impl Platform {
    /// Reads the secrets that are part of every record.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn resolve(&mut self) -> Result<(), SecretError> {
        if let Self::Ovh(ovh) = self {
            ovh.known = Some(ovh.token.resolve()?);
        }
        Ok(())
    }

    /// Where it is, for sentences.
    pub fn address(&self) -> String {
        match self {
            Self::Syslog(settings) => settings.receiver.address.0.clone(),
            Self::Gelf(settings) => settings.receiver.address.0.clone(),
            Self::Archive(settings) => crate::bucket::Bucket::place_of(&settings.bucket),
            Self::Ovh(settings) => settings.protocol.address(),
            Self::Lumberjack(settings) => settings.receiver.address.0.clone(),
            Self::File(path) => path.display().to_string(),
            Self::Bulk(settings) => settings.endpoint.url.0.clone(),
            Self::Http(settings) => settings.endpoint.url.0.clone(),
            Self::Loki(settings) => settings.endpoint.url.0.clone(),
            Self::Otlp(settings) => settings.endpoint.url.0.clone(),
            Self::CloudWatch(settings) => settings.endpoint.url.0.clone(),
        }
    }
}

impl Output {
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let batch = section.section("batch", |section| Some(Batch::read(section)));
        let syslog = section.section("syslog", Syslog::read);
        let gelf = section.section("gelf", Gelf::read);
        let file = section.section("file", |mut file| {
            let path = file.required::<AbsolutePath>("path");
            file.finish();
            path
        });
        let bulk = section.section("bulk", Bulk::read);
        let http = section.section("http", Http::read);
        let loki = section.section("loki", Loki::read);
        let otlp = section.section("otlp", Otlp::read);
        let cloudwatch = section.section("cloudwatch", CloudWatch::read);
        let ovh = section.section("ovh", |section| Ovh::read(section, known));
        let archive = section.section("bucket", |section| Archive::read(section, known));
        if archive.is_some() && batch.is_some() {
            section.problem_with("batch", "objects of a bucket are portioned by bucket.roll");
        }
        let (archive, roll) = archive.unzip();
        let batch = roll.or(batch).unwrap_or_default();
        let lumberjack = section.section("lumberjack", Lumberjack::read);
        section.exactly_one(&[
            "syslog",
            "file",
            "bulk",
            "gelf",
            "http",
            "loki",
            "otlp",
            "cloudwatch",
            "lumberjack",
            "ovh",
            "bucket",
        ]);
        section.finish();
        let platforms = [
            syslog.map(Platform::Syslog),
            file.map(|path| Platform::File(path.0)),
            bulk.map(|bulk| Platform::Bulk(Box::new(bulk))),
            gelf.map(Platform::Gelf),
            http.map(|http| Platform::Http(Box::new(http))),
            loki.map(|loki| Platform::Loki(Box::new(loki))),
            otlp.map(|otlp| Platform::Otlp(Box::new(otlp))),
            cloudwatch.map(|cloudwatch| Platform::CloudWatch(Box::new(cloudwatch))),
            lumberjack.map(Platform::Lumberjack),
            ovh.map(|ovh| Platform::Ovh(Box::new(ovh))),
            archive.map(|archive| Platform::Archive(Box::new(archive))),
        ];
        Some(Self { platform: platforms.into_iter().flatten().next()?, batch })
    }
}

impl Batch {
    fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let bytes = section.or("bytes", default.bytes);
        if !(64 << 10..=64 << 20).contains(&bytes.0) {
            section.problem_with(
                "bytes",
                "between 64KiB and 64MiB: a batch is held in memory, and sent again after a crash",
            );
        }
        let lines = section.or("lines", default.lines as u64);
        if !(1..=1_000_000).contains(&lines) {
            section.problem_with("lines", "between 1 and 1000000");
        }
        let age = section.or("age", default.age);
        if age > Duration::from_secs(60) {
            section.problem_with("age", "at most 60s: lines wait so long before they are sent");
        }
        section.finish();
        Self { bytes, lines: usize::try_from(lines).unwrap_or(default.lines), age }
    }
}

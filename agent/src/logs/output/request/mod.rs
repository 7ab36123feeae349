//! Platforms that answer each batch: what came in, what is to come again, what they will never take.
//!
//! In: a batch of encoded records. Out: nothing left of it, however long that takes: what the platform took, and the
//! records that it refused, with the reasons. A batch is sent when the one before is settled, so records stay in order.

/// Objects of a bucket.
mod archive;
/// Encoded records that are sent together.
pub mod batch;
/// Elasticsearch and OpenSearch.
mod bulk;
/// Amazon CloudWatch Logs.
mod cloudwatch;
/// Takes batches to a platform until they are settled.
pub mod courier;
/// Requests to platforms behind HTTP.
mod http;
/// Grafana Loki.
mod loki;
/// Logstash's input for Beats.
mod lumberjack;
/// OpenTelemetry.
mod otlp;
/// What became of what was sent.
mod outcome;
/// Anything that takes lines with a POST.
mod post;
/// What nobody answers.
mod unanswered;

pub use courier::Courier;
pub use outcome::{NotTaken, Undelivered};

use super::Origin;
use batch::Selection;
use courier::Deliver;
use hostwright_core::config::logs::output as config;
use hostwright_core::config::logs::output::ovh::Protocol;
use std::path::Path;

/// A log platform that answers each request.
#[derive(Debug)]
pub enum Platform {
    Archive(Box<archive::Archive>),
    Bulk(bulk::Bulk),
    CloudWatch(Box<cloudwatch::CloudWatch>),
    Loki(loki::Loki),
    Otlp(otlp::Otlp),
    Post(post::Post),
    Lumberjack(lumberjack::Lumberjack),
}

/// Whether a platform answers each batch. The others take a stream.
pub fn answers_each_batch(platform: &config::Platform) -> bool {
    match platform {
        config::Platform::Syslog(_) => false,
        config::Platform::Gelf(_) => false,
        config::Platform::File(_) => false,
        config::Platform::Bulk(_)
        | config::Platform::CloudWatch(_)
        | config::Platform::Http(_)
        | config::Platform::Loki(_)
        | config::Platform::Otlp(_) => true,
        config::Platform::Lumberjack(_) => true,
        config::Platform::Archive(_) => true,
        config::Platform::Ovh(settings) => matches!(settings.protocol, Protocol::Lumberjack(_) | Protocol::Bulk(_)),
    }
}

/// Whether a batch that is sent again after a crash must begin where a batch began: an object is replaced then.
pub fn begins_where_it_ended(platform: &config::Platform) -> bool {
    matches!(platform, config::Platform::Archive(_))
}

impl Platform {
    /// Makes ready what is needed to send: secrets, certificates. Connects to nothing. With the origin of the records
    /// comes a place for what is to survive a restart, if anything is.
    ///
    /// # Errors
    /// One of these is not to be had.
    pub async fn open(settings: &config::Platform, (origin, place): (&Origin, Option<&Path>)) -> anyhow::Result<Self> {
        match settings {
            config::Platform::Bulk(settings) => Ok(Self::Bulk(bulk::Bulk::new(settings))),
            config::Platform::CloudWatch(settings) => {
                Ok(Self::CloudWatch(Box::new(cloudwatch::CloudWatch::new(settings, origin))))
            }
            config::Platform::Http(settings) => Ok(Self::Post(post::Post::new(settings))),
            config::Platform::Loki(settings) => Ok(Self::Loki(loki::Loki::new(settings, origin))),
            config::Platform::Otlp(settings) => Ok(Self::Otlp(otlp::Otlp::new(settings, origin))),
            config::Platform::Lumberjack(settings) => Ok(Self::Lumberjack(lumberjack::Lumberjack::new(settings))),
            config::Platform::Archive(settings) => {
                Ok(Self::Archive(Box::new(archive::Archive::open(settings, origin, place)?)))
            }
            config::Platform::Ovh(settings) => match &settings.protocol {
                Protocol::Lumberjack(settings) => Ok(Self::Lumberjack(lumberjack::Lumberjack::new(settings))),
                Protocol::Bulk(settings) => Ok(Self::Bulk(bulk::Bulk::new(settings))),
                Protocol::Gelf(_) | Protocol::Syslog(_) | Protocol::Ltsv(_) => anyhow::bail!("takes a stream"),
            },
            _ => anyhow::bail!("takes a stream"),
        }
    }
}

impl Deliver for Platform {
    async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        match self {
            Self::Archive(archive) => archive.deliver(items).await,
            Self::Bulk(bulk) => bulk.deliver(items).await,
            Self::CloudWatch(cloudwatch) => cloudwatch.deliver(items).await,
            Self::Loki(loki) => loki.deliver(items).await,
            Self::Otlp(otlp) => otlp.deliver(items).await,
            Self::Post(post) => post.deliver(items).await,
            Self::Lumberjack(lumberjack) => lumberjack.deliver(items).await,
        }
    }

    fn remark(&mut self) -> Option<String> {
        match self {
            Self::Loki(loki) => loki.remark(),
            _ => None,
        }
    }

    fn thrown_away(&mut self) -> u64 {
        match self {
            Self::Otlp(otlp) => otlp.thrown_away(),
            _ => 0,
        }
    }
}

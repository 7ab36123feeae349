//! Records to bytes, in the form of each kind of output.
//!
//! In: the records of one file. Out: bytes, one record behind the other. An encoder is made for a file and an output,
//! so that what is the same for all records of the file is written once.

/// Actions of Elasticsearch's and OpenSearch's bulk API.
mod bulk;
/// Messages of CloudWatch's events.
mod cloudwatch;
/// Messages as datagrams.
pub mod datagrams;
/// Flat JSON objects.
mod flat;
/// Nested fields made flat.
mod flatten;
/// GELF messages.
mod gelf;
/// JSON put together as text.
mod json;
/// Entries of Loki's streams.
pub mod loki;
/// LTSV lines.
mod ltsv;
/// Lumberjack events.
mod lumberjack;
/// JSON lines.
mod ndjson;
/// Log records of OpenTelemetry.
pub mod otlp;
/// Fields that we add.
mod ours;
/// Records for OVH's Log Data Platform.
mod ovh;
/// Fields of lines that a platform would refuse under their names.
mod refit;
/// Syslog messages.
mod rfc5424;
/// Times as numbers.
mod seconds;
/// Our fields and a line's own, in one JSON object.
mod splice;
/// Lines as they are.
mod text;
/// What the endings of names say.
mod types;

use super::Origin;
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::Platform;
use hostwright_core::config::logs::output::http::Format;
use std::fmt::Debug;

/// What severities are called (RFC 5424, table 2), as most platforms know them.
pub const SEVERITIES: [&str; 8] = ["emerg", "alert", "critical", "error", "warn", "notice", "info", "debug"];

/// Makes bytes of the records of one file, in the form of one output.
pub trait Encode: Debug + Send {
    /// Appends a record to `out`.
    ///
    /// # Errors
    /// The platform would refuse the record, and why. What was appended by then is the caller's to remove.
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String>;

    /// Whether a record depends on those before it: another encoder would not do the same.
    fn remembers(&self) -> bool {
        false
    }
}

/// The encoder of an output for the records of a file.
pub fn encoder(platform: &Platform, origin: &Origin, facts: &Facts) -> Box<dyn Encode> {
    match platform {
        Platform::Syslog(settings) => Box::new(rfc5424::Encoder::new(settings, origin, facts)),
        Platform::Gelf(settings) => Box::new(gelf::Encoder::new(settings, origin, facts)),
        Platform::Ovh(settings) => Box::new(ovh::Encoder::new(settings, origin, facts)),
        Platform::Lumberjack(settings) => Box::new(lumberjack::Encoder::new(settings, origin, facts)),
        Platform::Archive(_) | Platform::File(_) => Box::new(ndjson::Encoder::new(origin, facts)),
        Platform::Bulk(settings) => Box::new(bulk::Encoder::new(settings, origin, facts)),
        Platform::Http(settings) => match settings.format {
            Format::Ndjson | Format::Array => Box::new(ndjson::Encoder::new(origin, facts)),
            Format::Text => Box::new(text::Encoder),
        },
        Platform::Loki(settings) => Box::new(loki::Encoder::new(settings, facts)),
        Platform::Otlp(settings) => Box::new(otlp::Encoder::new(settings, facts)),
        Platform::CloudWatch(_) => Box::new(cloudwatch::Encoder::new(origin, facts)),
    }
}

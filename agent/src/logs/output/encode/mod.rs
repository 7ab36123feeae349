//! Records to bytes, in the form of each kind of output.
//!
//! In: the records of one file. Out: bytes, one record behind the other. An encoder is made for a file and an output,
//! so that what is the same for all records of the file is written once.

/// Actions of Elasticsearch's and OpenSearch's bulk API.
mod bulk;
/// Messages as datagrams.
pub mod datagrams;
/// Nested fields made flat.
mod flatten;
/// GELF messages.
mod gelf;
/// JSON text, taken apart and put together.
mod json;
/// JSON lines.
mod ndjson;
/// Syslog messages.
mod rfc5424;
/// Times as numbers.
mod seconds;
/// Our fields and a line's own, in one JSON object.
mod splice;

use super::Origin;
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::Platform;
use std::fmt::Debug;

/// Makes bytes of the records of one file, in the form of one output.
pub trait Encode: Debug + Send {
    /// Appends a record to `out`.
    ///
    /// # Errors
    /// The platform would refuse the record, and why. What was appended by then is the caller's to remove.
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String>;
}

/// The encoder of an output for the records of a file.
pub fn encoder(platform: &Platform, origin: &Origin, facts: &Facts) -> Box<dyn Encode> {
    match platform {
        Platform::Syslog(settings) => Box::new(rfc5424::Encoder::new(settings, origin, facts)),
        Platform::Gelf(settings) => Box::new(gelf::Encoder::new(settings, origin, facts)),
        Platform::File(_) => Box::new(ndjson::Encoder::new(origin, facts)),
        Platform::Bulk(settings) => Box::new(bulk::Encoder::new(settings, origin, facts)),
    }
}

use super::{Origin, ndjson, rfc5424};
use crate::logs::record::Record;
use crate::logs::source::followed::FollowedFile;
use hostwright_core::config::logs::Output;

/// Makes bytes of the records of one file, in the form of one output.
#[derive(Debug)]
pub enum Encoder {
    Syslog(rfc5424::Encoder),
    Json(ndjson::Encoder),
}

impl Encoder {
    pub fn new(settings: &Output, origin: &Origin, file: &FollowedFile) -> Self {
        match settings {
            Output::Syslog(settings) => Self::Syslog(rfc5424::Encoder::new(settings, origin, file)),
            Output::File(_) => Self::Json(ndjson::Encoder::new(origin, file)),
        }
    }

    /// Appends a record to `out`; `now` is RFC 3339.
    pub fn encode(&self, record: &Record<'_>, now: &str, out: &mut Vec<u8>) {
        match self {
            Self::Syslog(encoder) => encoder.encode(record, now, out),
            Self::Json(encoder) => encoder.encode(record, now, out),
        }
    }
}

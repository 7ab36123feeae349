use super::flat::Flat;
use super::flatten::Rules;
use super::json::clipped;
use super::{Encode, Origin, rfc5424};
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::ovh::{Ovh, Protocol};

/// Larger records than this are not known to be taken by anything on the platform's side.
const LARGEST: usize = 5 << 20;

/// Writes the records of one file as OVH's Log Data Platform takes them, with the token that chooses the stream.
///
/// The platform drops what it does not like without telling the sender, so nothing of that kind is sent.
#[derive(Debug)]
pub enum Encoder {
    /// Flat JSON, and what stands before and behind each record.
    Flat(Flat, &'static [u8], &'static [u8]),
    Syslog(rfc5424::Encoder),
}

impl Encoder {
    pub fn new(settings: &Ovh, origin: &Origin, facts: &Facts) -> Self {
        let token = settings.known.as_ref().map_or("", |token| token.expose());
        match &settings.protocol {
            Protocol::Gelf(_) => Self::Flat(Flat::ovh_gelf(origin, facts, token), b"", b"\0"),
            Protocol::Lumberjack(_) => Self::Flat(Flat::ovh_event(origin, facts, token), b"", b""),
            Protocol::Bulk(_) => {
                Self::Flat(Flat::ovh_document(origin, facts, token), b"{\"create\":{\"_index\":\"ldp-logs\"}}\n", b"\n")
            }
            Protocol::Syslog(settings) => {
                let token = [("X-OVH-TOKEN", token)];
                Self::Syslog(rfc5424::Encoder::with_parameters(settings, origin, facts, &token))
            }
        }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        match self {
            Self::Flat(flat, before, behind) => {
                out.extend_from_slice(before);
                flat.push(record, out);
                out.extend_from_slice(behind);
            }
            Self::Syslog(encoder) => {
                let text = clipped(record.text, Rules::Ovh.longest_message());
                let cut = record.cut || text.len() < record.text.len();
                let &Record { object, time, severity, id, .. } = record;
                encoder.encode(&Record { text, cut, object, time, severity, id }, out)?;
            }
        }
        match out.len() - start {
            length if length > LARGEST => Err(format!(
                "{length} bytes as OVH's platform takes them; more than {LARGEST} are not known to arrive, and nobody would tell"
            )),
            _ => Ok(()),
        }
    }
}

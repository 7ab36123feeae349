use super::datagrams::Datagrams;
use super::flat::Flat;
use super::{Encode, Origin};
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::Gelf;
use hostwright_core::config::logs::output::gelf::Protocol;

/// Writes the records of one file as GELF messages, version 1.1.
#[derive(Debug)]
pub struct Encoder {
    flat: Flat,
    /// None: over TCP.
    datagrams: Option<Datagrams>,
}

impl Encoder {
    pub fn new(settings: &Gelf, origin: &Origin, facts: &Facts) -> Self {
        let datagrams = match settings.protocol {
            Protocol::Tcp => None,
            Protocol::Udp { compress, chunk } => Some(Datagrams::new(compress, chunk)),
        };
        Self { flat: Flat::gelf(origin, facts), datagrams }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        self.flat.push(record, out);
        match &mut self.datagrams {
            Some(datagrams) => datagrams.replace(start, out),
            None => {
                out.push(0);
                Ok(())
            }
        }
    }
}

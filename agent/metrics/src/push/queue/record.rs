use crate::push::exposition::Exposition;
use std::io::{self, Read};

/// The length of what follows this header, a checksum (CRC-32) of all after it, the time, the number of samples: 4, 4, 8
/// and 4 bytes, the least significant first. What follows is the text, compressed (RFC 8878).
pub const HEADER: usize = 20;
/// A text that is longer is none of ours.
const LONGEST_TEXT: u64 = 256 << 20;
/// The fastest level that is worth it: about a twelfth of the text.
const LEVEL: i32 = 1;

/// One sample of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In milliseconds since 1970.
    pub time: i64,
    /// How many samples the text has.
    pub samples: usize,
    /// The text format's.
    pub text: String,
}

impl Record {
    pub fn new(time: i64, text: String) -> Self {
        Self { time, samples: Exposition::read(&text).samples.len(), text }
    }

    /// As it is kept.
    pub fn pack(&self) -> Vec<u8> {
        // Memory is all that compressing could lack.
        let text = zstd::bulk::compress(self.text.as_bytes(), LEVEL).unwrap_or_default();
        let mut packed = Vec::with_capacity(HEADER + text.len());
        packed.extend_from_slice(&(text.len() as u32).to_le_bytes());
        packed.extend_from_slice(&[0; 4]);
        packed.extend_from_slice(&self.time.to_le_bytes());
        packed.extend_from_slice(&(self.samples as u32).to_le_bytes());
        packed.extend_from_slice(&text);
        let checksum = crc32fast::hash(&packed[8..]);
        packed[4..8].copy_from_slice(&checksum.to_le_bytes());
        packed
    }

    /// What was packed, if nothing happened to it.
    pub fn unpack(packed: &[u8]) -> io::Result<Self> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a record is damaged");
        let (header, text) = packed.split_first_chunk::<HEADER>().ok_or_else(damaged)?;
        let checksum = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if checksum != crc32fast::hash(&packed[8..]) {
            return Err(damaged());
        }
        let (length, samples) = lengths(header);
        if length != text.len() {
            return Err(damaged());
        }
        let mut time = [0; 8];
        time.copy_from_slice(&header[8..16]);
        let mut read = String::new();
        zstd::stream::read::Decoder::new(text)?.take(LONGEST_TEXT).read_to_string(&mut read)?;
        Ok(Self { time: i64::from_le_bytes(time), samples, text: read })
    }
}

/// How long what follows a header is, and how many samples are in it.
pub fn lengths(header: &[u8; HEADER]) -> (usize, usize) {
    let at = |from: usize| u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
    (at(0) as usize, at(16) as usize)
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Record};

    #[test]
    fn a_record_comes_back_as_it_was_and_never_as_something_else() {
        let record = Record::new(1_795_169_472_500, "a{x=\"é\"} 1\n# TYPE b gauge\nb 2\n".into());
        assert_eq!(record.samples, 2);
        let packed = record.pack();
        assert_eq!(Record::unpack(&packed).expect("whole"), record);
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x20;
            assert!(Record::unpack(&damaged).is_err(), "byte {at}");
            assert!(Record::unpack(&packed[..at]).is_err(), "cut at {at}");
        }
        assert!(packed.len() > HEADER);
    }
}

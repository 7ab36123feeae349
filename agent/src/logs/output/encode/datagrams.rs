use flate2::write::{GzEncoder, ZlibEncoder};
use hostwright_core::config::logs::output::gelf::Compression;
use std::io::{self, Write};

/// The first bytes of a chunk.
const MAGIC: [u8; 2] = [0x1e, 0x0f];
/// Magic, the message's id, the chunk's number and how many there are.
const HEADER: usize = 2 + 8 + 2;
/// More chunks a receiver does not take.
const CHUNKS: usize = 128;

/// Makes GELF datagrams of messages: compressed, and in chunks where they are too long.
///
/// A datagram stands behind its length in two bytes, so that the transport finds where each ends.
#[derive(Debug)]
pub struct Datagrams {
    compress: Compression,
    /// The most bytes of a datagram.
    most: usize,
    message: Vec<u8>,
}

impl Datagrams {
    pub fn new(compress: Compression, most: usize) -> Self {
        Self { compress, most, message: Vec::new() }
    }

    /// Puts the datagrams of the message that stands from `start` on in its place.
    ///
    /// # Errors
    /// It is too long even for many of them.
    pub fn replace(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let message = &mut self.message;
        message.clear();
        // Writing to memory does not fail.
        let _: io::Result<()> = match self.compress {
            Compression::None => message.write_all(&out[start..]),
            Compression::Zlib => compress_zlib(&out[start..], message),
            Compression::Gzip => compress_gzip(&out[start..], message),
        };
        let length = out.len() - start;
        out.truncate(start);
        if message.len() <= self.most {
            push_length(out, message.len());
            out.extend_from_slice(message);
            return Ok(());
        }
        let room = self.most - HEADER;
        let count = message.len().div_ceil(room);
        let (Ok(count), true) = (u8::try_from(count), count <= CHUNKS) else {
            return Err(format!(
                "{length} bytes are too much for GELF over UDP: at most {CHUNKS} chunks of {room} bytes; use protocol: tcp, or larger chunks",
            ));
        };
        let id = fastrand::u64(..).to_be_bytes();
        for (number, chunk) in (0..count).zip(message.chunks(room)) {
            push_length(out, HEADER + chunk.len());
            out.extend_from_slice(&MAGIC);
            out.extend_from_slice(&id);
            out.extend_from_slice(&[number, count]);
            out.extend_from_slice(chunk);
        }
        Ok(())
    }
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    // A datagram is no longer than 65,507 bytes: the settings see to that.
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

fn compress_zlib(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = ZlibEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish().map(drop)
}

fn compress_gzip(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish().map(drop)
}

/// The datagrams that stand behind one another.
pub fn each(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (datagram, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        bytes = rest;
        Some(datagram)
    })
}

#[cfg(test)]
mod tests {
    use super::{CHUNKS, Compression, Datagrams, HEADER, each};
    use flate2::read::{GzDecoder, ZlibDecoder};
    use std::io::Read;

    fn datagrams(message: &[u8], compress: Compression, most: usize) -> Result<Vec<Vec<u8>>, String> {
        let mut out = b"before".to_vec();
        out.extend_from_slice(message);
        Datagrams::new(compress, most).replace(6, &mut out)?;
        Ok(each(&out[6..]).map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn a_short_message_is_one_datagram_in_the_form_that_was_asked_for() {
        assert_eq!(datagrams(b"{}", Compression::None, 512), Ok(vec![b"{}".to_vec()]));
        let mut text = String::new();
        let zlib = datagrams(b"{1}", Compression::Zlib, 512).expect("made");
        ZlibDecoder::new(&zlib[0][..]).read_to_string(&mut text).expect("zlib");
        let gzip = datagrams(b"{2}", Compression::Gzip, 512).expect("made");
        GzDecoder::new(&gzip[0][..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "{1}{2}");
    }

    #[test]
    fn a_long_message_is_chunks_that_give_it_back() {
        let message: Vec<u8> = (0..10_000u32).map(|number| (number % 251) as u8).collect();
        let chunks = datagrams(&message, Compression::None, 1420).expect("made");
        let count = message.len().div_ceil(1420 - HEADER);
        assert_eq!(chunks.len(), count);
        for (number, chunk) in chunks.iter().enumerate() {
            assert!(chunk.starts_with(&[0x1e, 0x0f]) && chunk[2..10] == chunks[0][2..10] && chunk.len() <= 1420);
            assert_eq!(chunk[10..12], [number as u8, count as u8]);
        }
        assert_eq!(chunks.iter().flat_map(|chunk| &chunk[HEADER..]).copied().collect::<Vec<_>>(), message);
    }

    #[test]
    fn a_message_of_more_than_128_chunks_is_refused() {
        let room = CHUNKS * (512 - HEADER);
        assert_eq!(datagrams(&vec![b'x'; room], Compression::None, 512).map(|chunks| chunks.len()), Ok(128));
        let why = datagrams(&vec![b'x'; room + 1], Compression::None, 512).expect_err("refused");
        assert!(why.starts_with("64001 bytes are too much for GELF over UDP"), "{why}");
    }
}

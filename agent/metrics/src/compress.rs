use flate2::{Compress, Compression, FlushCompress, Status};
use std::io;
use zstd::bulk::Compressor;

/// The fastest: metrics shrink to a sixth by it, and higher ones cost several times as much for a little less.
const ZSTD_LEVEL: i32 = 1;
/// 16 KiB. With the 32 KiB that are the most of RFC 1951 (section 2), texts are 0.3 % smaller, and the compressor, which
/// is kept since making it costs three times what compressing does, 80 KiB larger (measured).
const GZIP_WINDOW_BITS: u8 = 14;

/// How an answer's text is coded (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Compressors with their tables, which are made at their first use and kept.
#[derive(Default)]
pub struct Compressors {
    gzip: Option<Compress>,
    zstd: Option<Compressor<'static>>,
}

impl Compressors {
    /// The text in the coding.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn apply(&mut self, coding: Coding, text: Vec<u8>) -> io::Result<Vec<u8>> {
        match coding {
            Coding::Identity => Ok(text),
            Coding::Gzip => {
                let new = || Compress::new_gzip(Compression::fast(), GZIP_WINDOW_BITS);
                gzip(self.gzip.get_or_insert_with(new), &text)
            }
            Coding::Zstd => {
                let compressor = match self.zstd.take() {
                    Some(compressor) => compressor,
                    None => Compressor::new(ZSTD_LEVEL)?,
                };
                self.zstd.insert(compressor).compress(&text)
            }
        }
    }
}

fn gzip(compress: &mut Compress, text: &[u8]) -> io::Result<Vec<u8>> {
    compress.reset();
    // About what metrics come to; there is more when that is not enough.
    let mut out = Vec::with_capacity(text.len() / 4 + 1024);
    loop {
        let taken = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = text.get(taken..).unwrap_or_default();
        match compress.compress_vec(rest, &mut out, FlushCompress::Finish).map_err(io::Error::other)? {
            Status::StreamEnd => return Ok(out),
            Status::Ok | Status::BufError => out.reserve(text.len() / 4 + 1024),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Coding, Compressors};
    use std::io::Read as _;

    #[test]
    fn what_was_compressed_reads_back_whatever_its_length_and_again() {
        let mut compressors = Compressors::default();
        let random = std::iter::repeat_with(|| fastrand::u8(..)).take(100_000).collect();
        let texts = [Vec::new(), b"x".to_vec(), b"node_cpu_seconds_total 1\n".repeat(5_000), random];
        for text in texts.iter().chain(&texts) {
            let gzip = compressors.apply(Coding::Gzip, text.clone()).expect("compressed");
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut back).expect("gzip");
            assert!(back == *text);
            let zstd = compressors.apply(Coding::Zstd, text.clone()).expect("compressed");
            assert!(zstd::stream::decode_all(&zstd[..]).expect("zstd") == *text);
            assert!(compressors.apply(Coding::Identity, text.clone()).expect("as it is") == *text);
        }
    }
}

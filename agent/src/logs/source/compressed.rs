use super::decoders::Permit;
use super::identity::{Content, HEAD};
use flate2::bufread::MultiGzDecoder;
use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The most that a zstd decoder may look back: what `zstd -19` needs. (`--ultra` and `--long` want up to 2 GiB.)
const ZSTD_WINDOW_LOG: u32 = 23;
const PIECE: usize = 32 << 10;
/// What a decoder takes beside that: its tables, and what was read last.
const DECODER_BYTES: u64 = 512 << 10;

/// A file whose content is compressed. Offsets are those of the content.
#[derive(Debug)]
pub struct Compressed {
    file: Arc<File>,
    method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Gzip,
    Zstd,
}

/// Whether and how a file is compressed, as its first bytes tell.
///
/// # Errors
/// The file cannot be read.
pub fn method_of(file: &File) -> io::Result<Option<Method>> {
    let mut magic = [0; 4];
    let length = file.fill_at(&mut magic, 0)?;
    Ok(match &magic[..length] {
        [0x1f, 0x8b, ..] => Some(Method::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Method::Zstd),
        _ => None,
    })
}

impl Compressed {
    pub fn new(file: File, method: Method) -> Self {
        Self { file: Arc::new(file), method }
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    pub fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// How long the content is, as far as can be told without decompressing it: exactly modulo 4 GiB for gzip (RFC 1952,
    /// ISIZE) if it was compressed in one go, and for zstd if the frame says so.
    pub fn stated_size(&self) -> Option<u64> {
        let file_size = self.file.metadata().ok()?.len();
        match self.method {
            Method::Gzip => {
                let mut size = [0; 4];
                self.file.read_exact_at(&mut size, file_size.checked_sub(4)?).ok()?;
                Some(u32::from_le_bytes(size).into())
            }
            Method::Zstd => {
                let mut header = [0; 18];
                let length = self.file.fill_at(&mut header, 0).ok()?;
                zstd::zstd_safe::get_frame_content_size(&header[..length]).ok().flatten()
            }
        }
    }

    /// Whether the content may end at this offset, as far as [`Self::stated_size`] tells.
    pub fn may_end_at(&self, offset: u64) -> bool {
        self.stated_size().is_some_and(|size| match self.method {
            Method::Gzip => size == offset & u64::from(u32::MAX),
            Method::Zstd => size == offset,
        })
    }

    /// A way through the content for an output; none while too many are in use.
    ///
    /// # Errors
    /// There is no memory for a decoder.
    pub fn reader(&self, output: &str) -> io::Result<Option<Reader>> {
        let Some(permit) = Permit::get(output, DECODER_BYTES + self.window()) else { return Ok(None) };
        Reader::new(self, Some(permit)).map(Some)
    }

    /// The content for looks at its beginning and at one place after the other: it is decompressed once for all of them.
    ///
    /// # Errors
    /// There is no memory for a decoder.
    pub fn in_order(&self) -> io::Result<InOrder> {
        let mut reader = Reader::new(self, None)?;
        let mut head = vec![0; HEAD];
        let length = reader.fill_at(&mut head, 0)?;
        head.truncate(length);
        Ok(InOrder { head, reader: RefCell::new(reader) })
    }

    /// How far its decoder looks back (RFC 8878, 3.1.1.1).
    fn window(&self) -> u64 {
        let mut header = [0; 6];
        let is_read = self.file.fill_at(&mut header, 0).is_ok_and(|length| length == header.len());
        if self.method == Method::Gzip || !is_read {
            return 0;
        }
        let is_one_segment = header[4] & 0x20 != 0;
        let window = if is_one_segment {
            self.stated_size().unwrap_or(0)
        } else {
            let base = 1 << (10 + (header[5] >> 3));
            base + base / 8 * u64::from(header[5] & 7)
        };
        window.min(1 << ZSTD_WINDOW_LOG)
    }

    fn decoder(&self) -> io::Result<Box<dyn Read + Send>> {
        let input = BufReader::with_capacity(PIECE, Positioned { file: self.file.clone(), offset: 0 });
        Ok(match self.method {
            Method::Gzip => Box::new(MultiGzDecoder::new(input)),
            Method::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// For a look at one place; a [`Reader`] reads on.
impl Content for Compressed {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Reader::new(self, None)?.fill_at(buffer, offset)
    }
}

/// See [`Compressed::in_order`].
#[derive(Debug)]
pub struct InOrder {
    head: Vec<u8>,
    reader: RefCell<Reader>,
}

impl Content for InOrder {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let in_head = usize::try_from(offset).ok().and_then(|start| self.head.get(start..start + buffer.len()));
        match in_head {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(bytes.len())
            }
            None => self.reader.borrow_mut().fill_at(buffer, offset),
        }
    }
}

/// Reads the content in order. What was read last is kept, because a line that was not complete is read again; to go
/// back further is to begin anew.
pub struct Reader {
    file: Arc<File>,
    method: Method,
    decoder: Box<dyn Read + Send>,
    /// The last bytes that were decoded.
    kept: Vec<u8>,
    kept_from: u64,
    failure: Option<io::Error>,
    _permit: Option<Permit>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("method", &self.method).field("at", &self.position()).finish_non_exhaustive()
    }
}

impl Reader {
    fn new(of: &Compressed, permit: Option<Permit>) -> io::Result<Self> {
        Ok(Self {
            file: of.file.clone(),
            method: of.method,
            decoder: of.decoder()?,
            kept: Vec::new(),
            kept_from: 0,
            failure: None,
            _permit: permit,
        })
    }

    /// Fills the buffer as far as the content reaches, or the undamaged part of it: see [`Self::failure`].
    ///
    /// # Errors
    /// There is no memory for a decoder.
    pub fn fill_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.kept_from {
            let again = Compressed { file: self.file.clone(), method: self.method };
            (self.decoder, self.failure, self.kept_from) = (again.decoder()?, None, 0);
            self.kept.clear();
        }
        self.skip_to(offset);
        let Some(kept) = usize::try_from(offset - self.kept_from).ok().and_then(|start| self.kept.get(start..)) else {
            return Ok(0);
        };
        let before = kept.len().min(buffer.len());
        buffer[..before].copy_from_slice(&kept[..before]);
        let mut filled = before;
        while let length @ 1.. = self.decode(&mut buffer[filled..]) {
            filled += length;
        }
        if filled > before {
            self.kept.clear();
            self.kept.extend_from_slice(&buffer[..filled]);
            self.kept_from = offset;
        }
        Ok(filled)
    }

    /// Why the content ends before its end.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    fn position(&self) -> u64 {
        self.kept_from + self.kept.len() as u64
    }

    fn skip_to(&mut self, offset: u64) {
        while self.position() < offset {
            let position = self.position();
            let mut skipped = std::mem::take(&mut self.kept);
            skipped.resize(usize::try_from(offset - position).unwrap_or(PIECE).min(PIECE), 0);
            let length = self.decode(&mut skipped);
            skipped.truncate(length);
            (self.kept, self.kept_from) = (skipped, position);
            if length == 0 {
                return;
            }
        }
    }

    /// Nothing at the end, at a damaged place, and for an empty buffer.
    fn decode(&mut self, buffer: &mut [u8]) -> usize {
        while self.failure.is_none() {
            match self.decoder.read(buffer) {
                Ok(length) => return length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failure = Some(error),
            }
        }
        0
    }
}

/// A file's bytes in order, without moving the position that the descriptor has for all.
struct Positioned {
    file: Arc<File>,
    offset: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::{Compressed, Reader};
    use crate::logs::source::identity::Content;
    use std::fs::File;
    use std::io::Write;

    fn content() -> Vec<u8> {
        (0..40_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("compressed");
        encoder.finish().expect("compressed")
    }

    fn compressed(bytes: &[u8]) -> Option<Compressed> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), bytes).expect("written");
        let file = File::open(file.path()).expect("opened");
        super::method_of(&file).expect("read").map(|method| Compressed::new(file, method))
    }

    #[test]
    fn the_content_is_read_from_any_place_in_both_formats_and_from_parts_that_were_joined() {
        let content = content();
        let (first, second) = content.split_at(100_000);
        let joined = [gzip(first), gzip(second)].concat();
        let zstd = zstd::stream::encode_all(content.as_slice(), 1).expect("compressed");
        for bytes in [gzip(&content), joined, zstd] {
            let file = compressed(&bytes).expect("compressed");
            let mut reader = Reader::new(&file, None).expect("memory");
            let mut buffer = vec![0; 70_000];
            for offset in [0, 50_000, 50_100, 300_000, 10, content.len() - 5, content.len(), 0] {
                let length = reader.fill_at(&mut buffer, offset as u64).expect("read");
                let expected = &content[offset..(offset + buffer.len()).min(content.len())];
                assert!(&buffer[..length] == expected, "{length} at {offset}");
            }
            assert_eq!(reader.fill_at(&mut buffer, content.len() as u64 + 7).expect("read"), 0);
            assert!(reader.failure().is_none());
        }
    }

    #[test]
    fn looks_in_order_see_the_same_as_looks_at_any_place() {
        let content = content();
        let file = compressed(&gzip(&content)).expect("compressed").in_order().expect("memory");
        for (offset, length) in [(0, 1024), (900, 200), (0, 10), (300_000, 1024), (0, 1024), (content.len() - 3, 1024)]
        {
            let mut buffer = vec![0; length];
            let length = file.fill_at(&mut buffer, offset as u64).expect("read");
            let expected = &content[offset..(offset + buffer.len()).min(content.len())];
            assert!(&buffer[..length] == expected, "{length} at {offset}");
        }
    }

    #[test]
    fn the_end_is_stated_where_the_format_tells_it() {
        let content = content();
        let gz = compressed(&gzip(&content)).expect("compressed");
        assert!(gz.may_end_at(content.len() as u64) && !gz.may_end_at(content.len() as u64 - 1));
        let bytes = zstd::bulk::compress(&content, 1).expect("compressed");
        assert_eq!(compressed(&bytes).expect("compressed").stated_size(), Some(content.len() as u64));
    }

    #[test]
    fn a_damaged_file_gives_what_is_before_the_damage_and_says_so() {
        let content = content();
        let bytes = gzip(&content);
        let file = compressed(&bytes[..bytes.len() / 2]).expect("compressed");
        let mut reader = Reader::new(&file, None).expect("memory");
        let mut buffer = vec![0; content.len()];
        let length = reader.fill_at(&mut buffer, 0).expect("read");
        assert!(length > 1000 && buffer[..length] == content[..length], "{length}");
        assert!(reader.failure().is_some());
        assert_eq!(reader.fill_at(&mut buffer, length as u64).expect("read"), 0);
    }

    #[test]
    fn a_plain_file_is_none() {
        assert!(compressed(b"plain").is_none() && compressed(b"").is_none());
    }

    #[test]
    fn a_decoders_window_is_told_by_the_file() {
        let window = |bytes: &[u8]| compressed(bytes).expect("compressed").window();
        let content = content();
        assert_eq!(window(&gzip(&content)), 0);
        let whole = zstd::bulk::compress(&content, 1).expect("compressed");
        assert_eq!(window(&whole), content.len() as u64, "one segment");
        // Of no stated size: level 3 looks back 2 MiB, and level 19 8 MiB.
        for (level, expected) in [(3, 2 << 20), (19, 8 << 20)] {
            let bytes = zstd::stream::encode_all(content.as_slice(), level).expect("compressed");
            assert_eq!(window(&bytes), expected, "{level}");
        }
    }

    #[test]
    fn a_look_at_one_place_needs_no_permit() {
        let file = compressed(&gzip(b"content")).expect("compressed");
        let readers: Vec<_> = std::iter::from_fn(|| file.reader("o").expect("memory")).collect();
        assert!((1..=8).contains(&readers.len()), "{}", readers.len());
        assert!(file.fill_at(&mut [0; 4], 3).is_ok_and(|length| length == 4));
    }
}

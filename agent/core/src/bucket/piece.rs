use super::buffer::{Buffer, READ};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reads at most a buffer full, and at least one byte.
pub(super) fn read_piece<'b>(
    file: &File,
    buffer: &'b mut [u8],
    offset: u64,
    left: u64,
    interrupted: &AtomicBool,
) -> io::Result<&'b [u8]> {
    if interrupted.load(Ordering::Relaxed) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    match file.read_at(&mut buffer[..most], offset)? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read")),
        read => Ok(&buffer[..read]),
    }
}

/// As [`read_piece`], for a body that is sent.
pub(super) fn read_bytes(file: &File, offset: u64, left: u64) -> io::Result<Bytes> {
    let going_on = AtomicBool::new(false);
    // A whole buffer is too much for what a limit lets through.
    if left < READ as u64 / 4 {
        let mut few = vec![0; usize::try_from(left).unwrap_or(READ)];
        let read = read_piece(file, &mut few, offset, left, &going_on)?.len();
        few.truncate(read);
        return Ok(few.into());
    }
    let mut buffer = Buffer::new();
    let read = read_piece(file, buffer.space(), offset, left, &going_on)?.len();
    Ok(buffer.into_bytes(read))
}

/// Reads a range of a file, a piece at a time.
pub(super) fn read_through(
    file: &File,
    range: Range<u64>,
    interrupted: &AtomicBool,
    mut each: impl FnMut(Bytes) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let mut buffer = Buffer::new();
        let read = read_piece(file, buffer.space(), offset, range.end - offset, interrupted)?.len();
        offset += read as u64;
        each(buffer.into_bytes(read))?;
    }
    Ok(())
}

#[path = "../../../../agent/src/logs/source/listener/frames.rs"]
mod frames;
#[path = "../../../../agent/src/logs/source/listener/legacy.rs"]
mod legacy;
#[path = "../../../../agent/src/logs/source/listener/line.rs"]
mod line;
#[path = "../../../../agent/src/logs/source/listener/message.rs"]
mod message;
#[path = "../../../../agent/src/logs/source/listener/structured.rs"]
mod structured;

use jiff::{Timestamp, tz::TimeZone};

/// The messages of a stream that comes in pieces, and whether they were cut.
///
/// # Panics
/// Something is left, or more is held than a message may have.
pub fn messages(pieces: &[&[u8]], limit: usize) -> Vec<(Vec<u8>, bool)> {
    let (mut frames, mut found) = (frames::Frames::default(), Vec::new());
    let mut each = |message: &[u8], is_cut| found.push((message.to_vec(), is_cut));
    for piece in pieces {
        frames.room(piece.len()).extend_from_slice(piece);
        frames.take(limit, false, &mut each);
        assert!(frames.held() <= limit + 16);
    }
    frames.take(limit, true, &mut each);
    assert_eq!(frames.held(), 0);
    found
}

/// The line that is made of a message, and whether it says that something was left out.
pub fn line(message: &[u8], limit: usize, is_local: bool) -> (Vec<u8>, bool) {
    let zone = TimeZone::UTC;
    let reading = message::Reading { now: Timestamp::UNIX_EPOCH, zone: &zone, is_local };
    let mut line = Vec::new();
    let made = reading.push_line(message, false, limit, &mut line);
    (line, made.is_cut)
}

//! What a receiver acknowledges is the same whatever pieces it comes in, grows, and is never more than the window.
#![no_main]

use hostwright_fuzz::logs::output::request::acknowledgements::Acknowledgements;
use libfuzzer_sys::fuzz_target;

/// How many events are acknowledged in the end, and whether what came is no acknowledgement.
fn taken(events: usize, mut bytes: &[u8], pieces: &[u8]) -> (usize, bool) {
    let mut acknowledgements = Acknowledgements::new(events);
    let mut pieces = pieces.iter().cycle();
    while !acknowledgements.are_all() && !bytes.is_empty() {
        let room = acknowledgements.room();
        let length = usize::from(*pieces.next().unwrap_or(&0)).clamp(1, bytes.len().min(room.len()));
        let before = bytes.split_off(..length).expect("as much");
        room[..length].copy_from_slice(before);
        let count = acknowledgements.count();
        if acknowledgements.take(length).is_err() {
            return (count, true);
        }
        assert!((count..=events).contains(&acknowledgements.count()));
    }
    (acknowledgements.count(), false)
}

/// The same, frame by frame.
fn expected(events: usize, bytes: &[u8]) -> (usize, bool) {
    let mut most = 0;
    for frame in bytes.chunks_exact(6) {
        if most == events {
            break;
        }
        let number = u32::from_be_bytes([frame[2], frame[3], frame[4], frame[5]]) as usize;
        if frame[..2] != *b"2A" || number > events {
            return (most, true);
        }
        most = most.max(number);
    }
    (most, false)
}

fuzz_target!(|input: (u16, [u8; 6], Vec<u32>, &[u8])| {
    let (events, pieces, numbers, noise) = input;
    let mut bytes: Vec<u8> =
        numbers.iter().flat_map(|number| [*b"2A\0\0", (number % 65_536).to_be_bytes()]).flatten().collect();
    // A frame has one number of four bytes.
    bytes = bytes.chunks_exact(8).flat_map(|frame| [&frame[..2], &frame[4..]].concat()).collect();
    bytes.extend_from_slice(noise);
    let events = usize::from(events);
    assert_eq!(taken(events, &bytes, &pieces), expected(events, &bytes));
});

//! Syslog messages are the same whatever pieces a stream comes in, and become JSON lines within their limit.
#![no_main]

use hostwright_fuzz::logs::source::listener::{line, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, bool, [u8; 5], &[u8])| {
    let (limit, is_local, ends, bytes) = input;
    let mut ends = ends.map(|end| usize::from(end).min(bytes.len()));
    ends.sort_unstable();
    let mut start = 0;
    let pieces: Vec<_> =
        ends.into_iter().chain([bytes.len()]).map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect();
    let limit = 16 + usize::from(limit);
    let all = messages(&[bytes], limit);
    assert_eq!(messages(&pieces, limit), all);
    for (message, _) in all {
        assert!(message.len() <= limit);
        let (line, _) = line(&message, 256 + limit, is_local);
        assert!(line.ends_with(b"\n") && line.iter().filter(|byte| **byte == b'\n').count() == 1);
        assert!(line.len() <= 257 + limit);
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&line).expect("JSON");
    }
});

//! The events that are refused are those that the platform names, and none beyond those that were sent.
#![no_main]

use hostwright_fuzz::logs::output::request::cloudwatch::{kind, rejected};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|input: (u8, [Option<u16>; 3], &str, u16, &[u8])| {
    let (events, [new, old, expired], name, at, noise) = input;
    let events = usize::from(events);
    let mut info = serde_json::Map::new();
    for (name, index) in
        [("tooNewLogEventStartIndex", new), ("tooOldLogEventEndIndex", old), ("expiredLogEventEndIndex", expired)]
    {
        info.extend(index.map(|index| (name.to_owned(), json!(index))));
    }
    let mut body = json!({"rejectedLogEventsInfo": info, "__type": name}).to_string().into_bytes();
    let found: Vec<_> = rejected(&body, events).map(|(at, _)| at).collect();
    let end = usize::from(old.max(expired).unwrap_or(0));
    let start = new.map_or(usize::MAX, usize::from);
    assert_eq!(found, (0..events).filter(|at| *at < end || *at >= start).collect::<Vec<_>>());
    assert!(name.ends_with(&kind(&body)));
    let at = usize::from(at).min(body.len());
    body.splice(at..(at + noise.len() / 2).min(body.len()), noise.iter().copied());
    for body in [&body, noise] {
        assert!(rejected(body, events).all(|(at, _)| at < events));
        assert!(!kind(body).contains('#'));
    }
});

//! A time that is taken as it stands means what jiff says it means; no other text panics.
#![no_main]

use hostwright_fuzz::logs::record::clock::Clock;
use hostwright_fuzz::logs::record::time::{Time, Zone};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let time = Time::of(text, &Zone::Utc);
    if let Some(Time::Text(_)) = time {
        let theirs: jiff::Timestamp = text.parse().expect("RFC 3339");
        assert_eq!(i128::from(Time::Text(text).nanoseconds()), theirs.as_nanosecond());
    }
    for time in [time, Time::of_number(text), Clock::default().of_line(text), Clock::default().of_value(text)] {
        if let Some(time) = time {
            let mut written = Vec::new();
            time.push_rfc3339(&mut written);
            let written = std::str::from_utf8(&written).expect("text");
            let again = Time::of(written, &Zone::Utc).expect("a time");
            assert_eq!(again.nanoseconds().div_euclid(1000), time.nanoseconds().div_euclid(1000));
        }
    }
});

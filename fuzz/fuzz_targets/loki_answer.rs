//! What Loki says of entries that are too old is found wherever it stands, and nothing else is taken for it.
#![no_main]

use hostwright_fuzz::logs::output::request::loki::{TooOld, is_of_an_entry, wants_no_metadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, u16, i32)| {
    let (before, after, labels, count, second) = input;
    for text in [before, after, labels] {
        let (_, _) = (is_of_an_entry(text), wants_no_metadata(text));
        if let Some(TooOld { stream: Some((stream, _)), .. }) = TooOld::of(text) {
            assert!(text.contains(stream));
        }
    }
    let Ok(time) = jiff::Timestamp::from_second(i64::from(second.unsigned_abs())) else { return };
    if [before, after, labels].iter().any(|text| text.contains("o")) {
        return;
    }
    let said = format!(
        "{before}entry too far behind, oldest acceptable timestamp is: {time}',\n{after}total ignored: {count} out of 9 for stream: {labels}"
    );
    let found = TooOld::of(&said).expect("it is all there");
    assert_eq!(found.oldest, i64::from(second.unsigned_abs()) * 1_000_000_000);
    assert_eq!(found.stream, Some((labels.trim_end(), usize::from(count))));
    assert!(found.is_about(labels.trim_end()));
});

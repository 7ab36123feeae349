//! What comes of logfmt and syslog lines is a JSON object, or the line as it is.
#![no_main]

use hostwright_fuzz::logs::record::clock::Clock;
use hostwright_fuzz::logs::record::form::{Form, Texts};
use hostwright_fuzz::logs::record::time::Zone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let mut texts = Texts::default();
    for form in [Form::Logfmt, Form::Syslog(Zone::Utc)] {
        for is_cut in [false, true] {
            let parsed = form.parse(line, is_cut, &Clock::default(), &mut texts);
            if parsed.object.is_some() {
                serde_json::from_str::<serde::de::IgnoredAny>(parsed.text).expect("JSON");
            } else {
                assert_eq!(parsed.text, line);
            }
        }
    }
});

//! Containers' lines are joined the same whatever pieces they come in, and what comes of them is a JSON object or text.
#![no_main]

use hostwright_fuzz::check;
use hostwright_fuzz::logs::record::clock::Clock;
use hostwright_fuzz::logs::record::form::{Form, Texts};
use hostwright_fuzz::logs::source::joining::{Engine, Joining};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, [u16; 6], &[u8])| {
    let (limit, ends, bytes) = input;
    let forms: [(_, fn(Box<Form>) -> Form); 2] = [(Engine::Cri, Form::Cri), (Engine::Docker, Form::Docker)];
    for (engine, form) in forms {
        let events = check(bytes, &Joining::Engine(engine), 4 + usize::from(limit), &mut ends.map(usize::from));
        for inner in [Form::Plain, Form::Json, Form::Logfmt] {
            let form = form(Box::new(inner));
            let mut texts = Texts::default();
            for (bytes, _, _, is_cut) in &events {
                let line = String::from_utf8_lossy(bytes);
                let parsed = form.parse(&line, *is_cut, &Clock::default(), &mut texts);
                if parsed.object.is_some() {
                    serde_json::from_str::<serde::de::IgnoredAny>(parsed.text).expect("JSON");
                } else {
                    assert_eq!(parsed.text, line);
                }
            }
        }
    }
});

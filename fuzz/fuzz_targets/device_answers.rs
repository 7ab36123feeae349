//! JSON that tells of devices and containers is taken or refused; what is taken has the fields of serde_json's own reading.
#![no_main]

use hostwright_fuzz::metrics::devices_file::{number, parse, text};
use hostwright_fuzz::metrics::podman_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str)| {
    let (bytes, name) = input;
    if let Ok(value) = parse(bytes) {
        for device in value.as_array().into_iter().flatten().chain([&value]) {
            let of = |name: &str| device.as_object().and_then(|fields| fields.get(name));
            // Of two that differ in case alone, the first one counts.
            let is_only = device
                .as_object()
                .is_none_or(|fields| fields.keys().filter(|key| key.eq_ignore_ascii_case(name)).count() < 2);
            if let Some(field) = of(name).filter(|_| is_only) {
                assert_eq!(text(device, name), field.as_str().unwrap_or_default());
                assert_eq!(number(device, name), field.as_f64().unwrap_or_default());
            }
        }
    }
    let whole = [b"HTTP/1.0 200 OK\r\n\r\n", bytes].concat();
    for answer in [bytes, &whole] {
        if let Some(all) = podman_answer::parse(answer) {
            assert!(all.len() <= answer.len());
        }
    }
});

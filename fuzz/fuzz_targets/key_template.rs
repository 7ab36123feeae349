//! A template of keys is read or refused with a reason; one that is read tells products apart and makes no empty names.
#![no_main]

use hostwright_fuzz::bucket::key::{KeyPart, KeyTemplate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match KeyTemplate::parse(text) {
        Err(why) => assert!(!why.is_empty()),
        Ok(template) => {
            assert!(!template.0.is_empty() && template.0.iter().any(|part| !matches!(part, KeyPart::Literal(_))));
            assert!(!text.starts_with('/') && !text.ends_with('/') && !text.contains("//"));
        }
    }
});

//! YAML of any bytes is loaded or refused with a place in it; what was loaded can be written and shown as a tree.
#![no_main]

use hostwright_fuzz::yaml::{Duplicates, emit, load, to_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match load(text, Duplicates::LastWins) {
        Err(error) => assert!(error.place.line >= 1 && error.place.column >= 1),
        Ok(document) => {
            to_json(&document.root);
            emit(&document.root);
        }
    }
});

//! A manifest is read or refused with a reason; one that is read is the same when it is written and read again.
#![no_main]

use hostwright_fuzz::bucket::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Manifest::parse(bytes) {
        Err(why) => assert!(why.starts_with("it is")),
        Ok(manifest) => {
            let text = serde_json::to_vec_pretty(&manifest).expect("what was read can be written");
            let again = Manifest::parse(&text).expect("what was written can be read");
            assert!(again == manifest && again.same_files(&manifest));
        }
    }
});

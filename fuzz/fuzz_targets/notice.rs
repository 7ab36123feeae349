//! A notice that waits in a file is read or refused, and is the same when it is written and read again; whatever it is
//! signed with gives a signature or a reason.
#![no_main]

use hostwright_fuzz::bucket::letter::{Letter, sign};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, [&str; 3], &[u8])| {
    let (secret, parts, file) = input;
    match sign(secret, parts) {
        // Always the same words: nothing of the secret is in them.
        Err(why) => assert_eq!(Err(why), sign("whsec_!", parts)),
        Ok(signature) => {
            assert!(signature.len() == 47 && signature.starts_with("v1,"), "{signature}");
            let other = format!("{}x", parts[2]);
            assert_ne!(sign(secret, [parts[0], parts[1], &other]).as_deref(), Ok(&*signature));
        }
    }
    if let Ok(letter) = serde_json::from_slice::<Letter>(file) {
        let again = serde_json::to_vec(&letter).expect("what was read can be written");
        assert!(serde_json::from_slice::<Letter>(&again).expect("what was written can be read") == letter);
    }
});

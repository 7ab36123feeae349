//! Whatever Swift or Keystone answers is read or told to be none of theirs; a store that is chosen is one of those told.
#![no_main]

use hostwright_fuzz::bucket::swift::{Report, Segment, listing, parsed, store};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, region) = input;
    if let Ok(listed) = listing(text) {
        assert!(listed.named.len() <= listed.told && listed.named.iter().all(|one| one.name.is_some()));
    }
    let _ = parsed::<Report>(text);
    let _ = parsed::<Vec<Segment>>(text);
    if let Ok(catalog) = serde_json::from_str(text) {
        for region in [None, Some(region)] {
            match store(&catalog, region, "public") {
                Ok(url) => assert!(!url.ends_with('/') && text.contains("object-store")),
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
});

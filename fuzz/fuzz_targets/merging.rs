//! Documents of any bytes are merged by any rules, or the rules are refused; a JSON patch is applied or refused.
#![no_main]

use hostwright_fuzz::userdata::merge::Merging;
use hostwright_fuzz::userdata::patch;
use hostwright_fuzz::yaml::{Duplicates, load, to_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str, &str)| {
    let (before, after, header) = texts;
    let (Ok(before), Ok(mut after)) = (load(before, Duplicates::LastWins), load(after, Duplicates::LastWins)) else {
        return;
    };
    if let Ok(patched) = patch::apply(&before.root, header) {
        to_json(&patched);
    }
    if let Ok(merging) = Merging::take(&mut after.root, header)
        && let Ok(merged) = merging.merge(before.root, after.root)
    {
        to_json(&merged);
    }
});

//! What is shown of an answer (Loki's and everybody's) is one short line without our secrets, and no wait is a day.
#![no_main]

use hostwright_fuzz::http::retry_after::retry_after;
use hostwright_fuzz::http::shown::shown;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Vec<&str>, Vec<&str>)| {
    let (text, secrets, parts) = input;
    // One that is part of what is put in its place cannot be hidden.
    let is_good = |secret: &&str| secret.len() > 3 && !"(secret)".contains(secret) && !secret.contains(['(', ')', '…']);
    let secrets: Vec<_> = secrets.into_iter().map(str::trim).filter(is_good).collect();
    let mut said = text.to_owned();
    for (secret, part) in secrets.iter().zip(parts.iter().chain([&text, &""])) {
        said.push_str(secret);
        said.push_str(part);
    }
    let line = shown(&said, secrets.iter().copied());
    assert!(line.chars().count() <= 301 && !line.contains(char::is_control), "{line:?}");
    for secret in secrets {
        assert!(!line.contains(secret), "{secret:?}: {line:?}");
    }
    assert!(retry_after(text, Timestamp::UNIX_EPOCH).is_none_or(|wait| wait.as_secs() <= 600));
});

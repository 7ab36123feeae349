//! What a collector rejected is read as it was written, among fields of any other kind; anything else does no harm.
#![no_main]

use hostwright_fuzz::logs::output::request::otlp::partial_success;
use hostwright_fuzz::protobuf::{push_bytes, push_fixed64, push_message, push_number};
use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;

fuzz_target!(|input: (u64, &str, u8, u16, &[u8])| {
    let (rejected, message, field, at, noise) = input;
    let mut body = Vec::new();
    let other = 3 + field % 12;
    push_fixed64(&mut body, other, rejected);
    let Ok(()) = push_message(&mut body, 1, |out| {
        push_number(out, 1, rejected);
        push_bytes(out, other, noise);
        push_bytes(out, 2, message.as_bytes());
        Ok::<_, Infallible>(())
    });
    push_number(&mut body, other, rejected);
    push_bytes(&mut body, other, noise);
    assert_eq!(partial_success(&body), Some((rejected, message.to_owned())));
    let at = usize::from(at).min(body.len());
    body.splice(at..(at + noise.len() / 2).min(body.len()), noise.iter().copied());
    let _ = partial_success(&body);
    let _ = partial_success(noise);
});

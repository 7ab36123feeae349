//! A MIME message of any bytes is taken apart or refused; its texts are pieces of it, with as many lines before them.
#![no_main]

use hostwright_fuzz::userdata::mime::{Body, Entity, parse};
use hostwright_fuzz::userdata::transfer::decode;
use libfuzzer_sys::fuzz_target;

fn look(entity: &Entity, text: &str) {
    entity.content_type();
    entity.file_name();
    match &entity.body {
        Body::Parts(parts) => parts.iter().for_each(|part| look(part, text)),
        Body::Text(body, lines) => {
            let start: usize = text.split_inclusive('\n').take(*lines).map(str::len).sum();
            assert!(text[start..].starts_with(body.as_str()));
            decode(body, entity.header("content-transfer-encoding").unwrap_or_default());
        }
    }
}

fuzz_target!(|text: &str| {
    if let Ok(entity) = parse(text) {
        look(&entity, text);
    }
});

//! JSON put together as text.

use std::io::Write;

/// Whether the text of a string, between its quotes, is nothing but space.
pub fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// At most so many characters of the text's beginning.
pub fn clipped(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// Appends text as a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(&mut *out, text);
}

/// Appends `,"name":` and the text as a JSON string.
pub fn push_text_field(out: &mut Vec<u8>, name: &str, text: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    push_string(out, text);
}

/// Appends a number.
pub fn push_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}

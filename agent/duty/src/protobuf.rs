//! Protocol Buffers' wire format (<https://protobuf.dev/programming-guides/encoding/>), as far as it is written here.

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;

/// How many bytes a number takes.
pub fn varint_length(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn push_tag(out: &mut Vec<u8>, field: u8, kind: u8) {
    // Fields up to 15 are all there are.
    out.push(field << 3 | kind);
}

/// A number.
pub fn push_number(out: &mut Vec<u8>, field: u8, value: u64) {
    push_tag(out, field, VARINT);
    push_varint(out, value);
}

/// Eight bytes.
pub fn push_fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    push_tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Bytes or text.
pub fn push_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    push_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// What stands before a field of so many bytes.
pub fn push_head(out: &mut Vec<u8>, field: u8, length: usize) {
    push_tag(out, field, LENGTH);
    push_varint(out, length as u64);
}

/// A message whose length is known when `fill` has written it.
pub fn push_message<E>(
    out: &mut Vec<u8>,
    field: u8,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    push_tag(out, field, LENGTH);
    // Most are shorter than 128 bytes; the others make room for their length afterwards.
    out.push(0);
    let start = out.len();
    fill(out)?;
    let length = out.len() - start;
    let more = varint_length(length as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start..start + length, start + more);
    }
    let mut head = Vec::new();
    push_varint(&mut head, length as u64);
    out[start - 1..start - 1 + head.len()].copy_from_slice(&head);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{push_bytes, push_fixed64, push_message, push_number, push_varint, varint_length};

    /// The examples of the encoding's documentation.
    #[test]
    fn numbers_and_messages_are_written_as_documented() {
        let mut out = Vec::new();
        push_number(&mut out, 1, 150);
        push_bytes(&mut out, 2, b"testing");
        let written = push_message(&mut out, 3, |out| {
            push_number(out, 1, 150);
            Ok::<_, ()>(())
        });
        assert_eq!(written, Ok(()));
        push_fixed64(&mut out, 4, 1);
        assert_eq!(out, b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01\x21\x01\0\0\0\0\0\0\0");
    }

    #[test]
    fn a_long_message_has_its_length_before_it() {
        for length in [0, 127, 128, 16_383, 16_384, 3_000_000] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let (mut plain, mut filled) = (Vec::new(), Vec::new());
            push_bytes(&mut plain, 6, &content);
            let written = push_message(&mut filled, 6, |out| {
                out.extend_from_slice(&content);
                Ok::<_, ()>(())
            });
            assert!(written.is_ok() && plain == filled, "{length}");
        }
        for value in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            assert_eq!(out.len(), varint_length(value), "{value}");
        }
    }
}

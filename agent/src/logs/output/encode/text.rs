use super::Encode;
use crate::logs::record::Record;

/// Writes lines as they are, one behind the other; a line end inside of a record becomes a space.
#[derive(Debug)]
pub struct Encoder;

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        out.extend_from_slice(record.text.as_bytes());
        while let Some(at) = memchr::memchr(b'\n', &out[start..]) {
            out[start + at] = b' ';
        }
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder};
    use crate::logs::record::{Id, Record, Time};

    #[test]
    fn a_record_is_one_line() {
        let time = Time::Text("now");
        let record = Record { text: "a\nb\nc", cut: false, object: None, time, severity: None, id: Id::default() };
        let mut out = b"before\n".to_vec();
        Encoder.encode(&record, &mut out).expect("encoded");
        assert_eq!(out, b"before\na b c\n");
    }
}

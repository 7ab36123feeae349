use super::splice::{Splice, Stamp};
use super::{Encode, Origin};
use crate::logs::record::{Facts, Record};

/// Writes the records of one file as JSON lines.
#[derive(Debug)]
pub struct Encoder {
    splice: Splice,
}

impl Encoder {
    pub fn new(origin: &Origin, facts: &Facts) -> Self {
        Self { splice: Splice::new(origin, facts, Stamp::Time) }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        self.splice.push(record, out);
        out.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Record, Time};
    use serde_json::{Value, json};

    #[test]
    fn text_becomes_a_message_and_a_cut_line_says_so() {
        let origin = Origin { host: "h".into(), labels: [].into() };
        let text = "a\"b\u{1}\u{2028}\n";
        let record =
            Record { text, cut: true, object: None, time: Time::Text("now"), severity: None, id: Id::default() };
        let mut out = Vec::new();
        Encoder::new(&origin, &Facts::default()).encode(&record, &mut out).expect("encoded");
        assert_eq!(out.iter().position(|byte| *byte == b'\n'), Some(out.len() - 1), "one line");
        let value: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!((&value["message"], &value["cut"], &value["time"]), (&json!(text), &json!(true), &json!("now")));
    }
}

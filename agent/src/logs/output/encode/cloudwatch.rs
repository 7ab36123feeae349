use super::splice::{Splice, Stamp};
use super::{Encode, Origin};
use crate::logs::record::{Facts, Record};

/// The longest message of an event: a batch has no room for a longer one.
pub const LONGEST: usize = (1 << 20) - 26;
/// What a message ends with that was too long.
const CUT: &str = "… (cut)";

/// Writes the records of one file as messages of CloudWatch's events: JSON objects.
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
        let start = out.len();
        self.splice.push(record, out);
        if out.len() - start > LONGEST {
            let mut end = start + LONGEST - CUT.len();
            while out[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            out.truncate(end);
            out.extend_from_slice(CUT.as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CUT, Encode, Encoder, LONGEST};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Record, Time};

    #[test]
    fn a_message_that_is_too_long_is_cut_between_characters_and_says_so() {
        for shift in ["", "x", "xx"] {
            let text = format!("{shift}{}", "€".repeat(LONGEST / 3 + 1));
            let time = Time::Text("now");
            let record = Record { text: &text, cut: false, object: None, time, severity: None, id: Id::default() };
            let mut out = Vec::new();
            let origin = Origin { host: "h".into(), labels: [].into() };
            Encoder::new(&origin, &Facts::default()).encode(&record, &mut out).expect("encoded");
            let message = String::from_utf8(out).expect("characters");
            assert!(
                message.ends_with(CUT) && message.len() <= LONGEST && message.len() > LONGEST - 3,
                "{}",
                message.len()
            );
        }
    }
}

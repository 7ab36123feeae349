use super::{Encode, Origin};
use crate::logs::record::{Facts, Record, Time};
use hostwright_core::config::logs::output::{Framing, Syslog};
use std::io::Write;

/// The severity of a line that names none: informational.
const INFORMATIONAL: u8 = 6;
/// The example enterprise number that RFC 5612 reserves; it makes the structured data's name a private one.
const DATA_ID: &str = "hostwright@32473";

/// Writes the records of one file as RFC 5424 messages. All but priority, time and text is the same for every record.
#[derive(Debug)]
pub struct Encoder {
    framing: Framing,
    facility: u8,
    /// From the space after the time to the space before the text.
    middle: Vec<u8>,
    /// The same for a line that was cut.
    middle_cut: Vec<u8>,
}

impl Encoder {
    pub fn new(settings: &Syslog, origin: &Origin, facts: &Facts) -> Self {
        Self::with_parameters(settings, origin, facts, &[])
    }

    /// With further structured data.
    pub fn with_parameters(settings: &Syslog, origin: &Origin, facts: &Facts, parameters: &[(&str, &str)]) -> Self {
        let source = &facts.source;
        let app_name = settings.app_name.as_deref().unwrap_or(source);
        let mut middle = String::from(" ");
        for (text, most) in [(origin.host.as_str(), 255), (app_name, 48), ("-", 1), (source, 32)] {
            push_header(&mut middle, text, most);
            middle.push(' ');
        }
        middle.push_str(&format!("[{DATA_ID}"));
        push_parameter(&mut middle, "source", source);
        push_parameter(&mut middle, "file", &facts.file);
        for (name, value) in parameters {
            push_parameter(&mut middle, name, value);
        }
        for (name, value) in origin.labels.iter().chain(&facts.fields) {
            push_parameter(&mut middle, name, value);
        }
        let mut middle_cut = middle.clone();
        push_parameter(&mut middle_cut, "cut", "true");
        middle.push_str("] ");
        middle_cut.push_str("] ");
        Self {
            framing: settings.framing,
            facility: settings.facility,
            middle: middle.into(),
            middle_cut: middle_cut.into(),
        }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let priority = u16::from(self.facility) * 8 + u16::from(record.severity.unwrap_or(INFORMATIONAL));
        let mut written = Vec::new();
        let time = match record.time {
            Time::Text(text) => text.as_bytes(),
            time => {
                time.push_rfc3339(&mut written);
                &written
            }
        };
        let middle = if record.cut { &self.middle_cut } else { &self.middle };
        if self.framing == Framing::OctetCounting {
            let digits = 1 + usize::from(priority >= 10) + usize::from(priority >= 100);
            let length = "<>1 ".len() + digits + time.len() + middle.len() + record.text.len();
            // Writing to memory does not fail.
            let _ = write!(out, "{length} ");
        }
        let _ = write!(out, "<{priority}>1 ");
        out.extend_from_slice(time);
        out.extend_from_slice(middle);
        match self.framing {
            Framing::OctetCounting => out.extend_from_slice(record.text.as_bytes()),
            Framing::Newline => {
                push_line(out, record.text);
                out.push(b'\n');
            }
        }
        Ok(())
    }
}

/// Text whose newlines would end the message: they become `\n`.
fn push_line(out: &mut Vec<u8>, text: &str) {
    for (number, line) in text.split('\n').enumerate() {
        out.extend_from_slice(if number > 0 { b"\\n" } else { b"" });
        out.extend_from_slice(line.as_bytes());
    }
}

/// A header's field: printable ASCII, at most so long, `-` for nothing.
fn push_header(out: &mut String, text: &str, most: usize) {
    if text.is_empty() {
        return out.push('-');
    }
    out.extend(text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' }));
}

/// A parameter of structured data (RFC 5424, 6.3.3). Line ends would end the message under newline framing.
fn push_parameter(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.extend(name.chars().take(32));
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder, Framing, push_header, push_parameter};
    use crate::logs::record::{Id, Record, Time};

    fn encoder(framing: Framing) -> Encoder {
        Encoder {
            framing,
            facility: 16,
            middle: b" h app - src [x a=\"1\"] ".into(),
            middle_cut: b" h app - src [x cut=\"true\"] ".into(),
        }
    }

    fn record(text: &str, cut: bool) -> Record<'_> {
        Record { text, cut, object: None, time: Time::Text("now"), severity: None, id: Id::default() }
    }

    #[test]
    fn a_message_has_priority_time_header_structured_data_and_the_line() {
        let time = Time::Text("2026-11-20T10:11:12Z");
        let record = Record { severity: Some(3), time, ..record("{\"ä\":1}", false) };
        let mut out = Vec::new();
        encoder(Framing::Newline).encode(&record, &mut out).expect("encoded");
        assert_eq!(String::from_utf8_lossy(&out), "<131>1 2026-11-20T10:11:12Z h app - src [x a=\"1\"] {\"ä\":1}\n");
    }

    #[test]
    fn a_newline_in_a_line_does_not_end_the_message() {
        let mut out = Vec::new();
        encoder(Framing::Newline).encode(&record("a\n b\n", false), &mut out).expect("encoded");
        assert!(out.ends_with(b"] a\\n b\\n\n"), "{}", out.escape_ascii());
    }

    #[test]
    fn octets_are_counted_and_a_cut_line_says_so() {
        for facility in [0, 1, 16] {
            let record = record("täxt", true);
            let mut out = Vec::new();
            Encoder { facility, ..encoder(Framing::OctetCounting) }.encode(&record, &mut out).expect("encoded");
            let text = String::from_utf8(out).expect("text");
            let (length, message) = text.split_once(' ').expect("a count");
            assert_eq!(length.parse(), Ok(message.len()), "{text}");
            assert!(
                message.starts_with(&format!("<{}>1 now h app", facility * 8 + 6))
                    && message.ends_with("[x cut=\"true\"] täxt")
            );
        }
    }

    #[test]
    fn names_and_values_cannot_break_out_of_their_place() {
        let mut out = String::new();
        push_header(&mut out, "a b\nü", 255);
        push_header(&mut out, "", 48);
        push_parameter(&mut out, "p", "\"]\\\nx");
        assert_eq!(out, "a_b__- p=\"\\\"\\]\\\\ x\"");
    }
}

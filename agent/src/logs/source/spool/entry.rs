/// What a message may take of a line beside its text, and the text's own quotes.
const CLOSING: &str = ",\"cut\":true,\"message\":\"\"}";

/// Writes one message as a JSON line that is no longer than a limit: what does not fit is left out, and it says so.
#[derive(Debug)]
pub struct Entry<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
    is_cut: bool,
}

impl<'a> Entry<'a> {
    /// Begins a line at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = out.len();
        out.push(b'{');
        Self { out, start, limit, is_cut: false }
    }

    pub fn text(&mut self, name: &str, value: &str) {
        // As JSON a string is longer than as text: that many bytes are not worth being written to be removed again.
        if value.len() > self.limit / 2 {
            self.is_cut = true;
            return;
        }
        self.field(name, |out| write_json(out, value));
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.field(name, |out| write_json(out, &value));
    }

    pub fn value(&mut self, name: &str, value: &serde_json::Value) {
        self.field(name, |out| write_json(out, value));
    }

    /// The message was longer already when it came.
    pub fn is_cut(&mut self) {
        self.is_cut = true;
    }

    /// Ends the line with the message; whether something was left out.
    pub fn end(mut self, message: &str) -> bool {
        let room = self.limit.saturating_sub(self.out.len() - self.start + CLOSING.len());
        let fitting = fitting(message, room);
        self.is_cut |= fitting < message.len();
        if self.is_cut {
            self.name("cut");
            self.out.extend_from_slice(b"true");
        }
        self.name("message");
        write_json(self.out, &message[..fitting]);
        self.out.extend_from_slice(b"}\n");
        self.is_cut
    }

    /// Fields take at most half of the line: the other half is for the message.
    fn field(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.out.len();
        self.name(name);
        write(self.out);
        if self.out.len() - self.start > self.limit / 2 {
            self.out.truncate(before);
            self.is_cut = true;
        }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > self.start + 1 {
            self.out.push(b',');
        }
        write_json(self.out, name);
        self.out.push(b':');
    }
}

fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing such values to memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// How much of a text fits into so many bytes as a JSON string without its quotes.
fn fitting(text: &str, room: usize) -> usize {
    // Six bytes are the most that one becomes (`\u0001`).
    if text.len() <= room / 6 {
        return text.len();
    }
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..'\u{20}' => 6,
            _ => c.len_utf8(),
        };
        if taken > room {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::Entry;
    use serde_json::{Value, json};

    #[test]
    fn a_message_is_a_json_line_with_its_fields() {
        let mut out = Vec::new();
        let mut entry = Entry::begin(&mut out, 4096);
        entry.text("unit", "a\"b");
        entry.number("level", 6);
        assert!(!entry.end("two\nlines"));
        assert_eq!(String::from_utf8_lossy(&out), "{\"unit\":\"a\\\"b\",\"level\":6,\"message\":\"two\\nlines\"}\n");
    }

    #[test]
    fn no_line_is_longer_than_the_limit_and_what_is_left_out_is_said() {
        for message in ["x".repeat(500), "\u{1}".repeat(500), "äöü\"".repeat(100), "💥".repeat(100)] {
            let mut out = b"before\n".to_vec();
            let mut entry = Entry::begin(&mut out, 200);
            entry.text("a", "1");
            entry.text("big", &message);
            assert!(entry.end(&message));
            let line = &out[7..];
            assert!((180..=201).contains(&line.len()), "{}", line.len());
            let value: Value = serde_json::from_slice(line).expect("JSON");
            assert_eq!((&value["a"], &value["cut"], value.get("big")), (&json!("1"), &json!(true), None));
            assert!(message.starts_with(value["message"].as_str().expect("text")));
        }
    }
}

use super::flat::{INFORMATIONAL, sent_already};
use super::flatten::{Flatten, Rules, push_ltsv_value};
use super::json::{clipped, is_blank, push_number};
use crate::logs::output::Origin;
use crate::logs::record::{Facts, Record, json};
use std::borrow::Cow;

/// Writes the records of one file as LTSV lines as OVH's platform takes them, without their ends.
#[derive(Debug)]
pub struct Ltsv {
    /// What is the same for all: up to the value of the time.
    head: Vec<u8>,
    flatten: Flatten,
}

impl Ltsv {
    pub fn new(origin: &Origin, facts: &Facts, token: &str) -> Self {
        let mut head = b"X-OVH-TOKEN:".to_vec();
        push_ltsv_value(&mut head, token);
        for (name, text) in [("host", &origin.host), ("log_source", &facts.source), ("log_file", &facts.file)] {
            push_name(&mut head, name);
            push_ltsv_value(&mut head, text);
        }
        let mut flatten = Flatten::ltsv(Rules::Ovh);
        for further in [serde_json::json!({"labels": origin.labels}), serde_json::json!(facts.fields)] {
            flatten.push(&further.to_string(), |_| false, &mut head);
        }
        push_name(&mut head, "time");
        Self { head, flatten }
    }

    pub fn push(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        record.time.push_rfc3339(out);
        push_name(out, "level");
        push_number(out, record.severity.unwrap_or(INFORMATIONAL));
        push_name(out, "record_id");
        record.id.push_base64(out);
        push_name(out, "message");
        let own = record.object.and_then(|object| object.message).map(json::text);
        let text = own.filter(|text| !is_blank(text)).unwrap_or(Cow::Borrowed(record.text));
        let text = if is_blank(&text) { "-" } else { &text };
        let beginning = clipped(text, Rules::Ovh.longest_message());
        push_ltsv_value(out, beginning);
        let mut cut = record.cut || beginning.len() < text.len();
        if let Some(object) = record.object {
            cut |= self.flatten.push(record.text, sent_already(object), out);
        }
        if cut {
            push_name(out, "cut_bool");
            out.extend_from_slice(b"true");
        }
    }
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'\t');
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
}

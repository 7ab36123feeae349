use super::super::batch::Selection;
use super::streams::Placed;
use hostwright_duty::protobuf::{push_bytes, push_head, varint_length};
use std::borrow::Cow;

/// logproto.PushRequest
pub fn push_request(items: Selection<'_>, placed: &Placed, has_metadata: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut entries = vec![Vec::new(); placed.streams.len()];
    for ((_, entry), index) in items.items().zip(items.indices) {
        let entry = &entry[1..];
        let plain = if has_metadata { None } else { without_metadata(entry) };
        entries[placed.of[*index]].push(plain.map_or(Cow::Borrowed(entry), Cow::Owned));
    }
    for (stream, entries) in placed.streams.iter().zip(&entries) {
        push_stream(&mut out, &stream.labels, entries);
    }
    out
}

/// logproto.StreamAdapter
fn push_stream(out: &mut Vec<u8>, labels: &str, entries: &[Cow<'_, [u8]>]) {
    if entries.is_empty() {
        return;
    }
    let labels_length = 1 + varint_length(labels.len() as u64) + labels.len();
    push_head(out, 1, labels_length + entries.iter().map(|entry| entry.len()).sum::<usize>());
    push_bytes(out, 1, labels.as_bytes());
    for entry in entries {
        out.extend_from_slice(entry);
    }
}

/// An entry with its time and line alone, as the encoder wrote them.
fn without_metadata(entry: &[u8]) -> Option<Vec<u8>> {
    let (_, entry, _) = field(entry)?;
    let (time, _, rest) = field(entry)?;
    let (line, _, _) = field(rest)?;
    let mut out = Vec::with_capacity(entry.len());
    push_head(&mut out, 2, time.len() + line.len());
    out.extend_from_slice(time);
    out.extend_from_slice(line);
    Some(out)
}

/// The first field, which has a length: all of it, its content, and what follows.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (mut length, mut start) = (0usize, 1);
    loop {
        let byte = *bytes.get(start)?;
        length |= usize::from(byte & 0x7f).checked_shl(7 * u32::try_from(start - 1).ok()?)?;
        start += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let end = start.checked_add(length)?;
    Some((bytes.get(..end)?, &bytes[start..end], &bytes[end..]))
}

#[cfg(test)]
mod tests {
    use super::without_metadata;
    use crate::logs::output::encode::Encode;
    use crate::logs::output::encode::loki::Encoder;
    use crate::logs::record::{Facts, Id, Record, Time};
    use hostwright_core::config::Config;
    use hostwright_core::config::logs::output as config;

    #[test]
    fn an_entry_without_its_metadata_has_its_time_and_line() {
        let settings = r#"{labels: [source], url: "http://x"}"#;
        let config = Config::parse(&format!("logs: {{outputs: {{a: {{loki: {settings}}}}}}}"), "agent.yaml");
        let config::Platform::Loki(mut settings) =
            config.expect("valid").logs.expect("logs").outputs["a"].platform.clone()
        else {
            panic!("no Loki")
        };
        let facts = Facts { file: "/f".repeat(100), ..Facts::default() };
        let text = "x".repeat(300);
        let record = Record {
            text: &text,
            cut: true,
            object: None,
            time: Time::Nanoseconds(5),
            severity: Some(3),
            id: Id::default(),
        };
        let encoded = |settings: &config::Loki| {
            let mut out = Vec::new();
            Encoder::new(settings, &facts).encode(&record, &mut out).expect("encoded");
            out
        };
        let full = encoded(&settings);
        settings.structured_metadata = false;
        let plain = encoded(&settings);
        assert!(full.len() > plain.len() + 200);
        assert_eq!(without_metadata(&full[1..]).as_deref(), Some(&plain[1..]));
        assert_eq!(without_metadata(&full[1..20]), None);
    }
}

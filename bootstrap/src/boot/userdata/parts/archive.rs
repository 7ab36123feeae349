use super::{Kind, Part, Parts, kind, type_by_start};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::yaml::{self, Duplicates, Node};

impl Parts {
    /// A list of texts, or of mappings with a text under `content`. As in cloud-init, what they are is not taken apart
    /// once more.
    pub(super) fn archive(&mut self, text: &str, lines_before: Option<usize>) {
        let padded = "\n".repeat(lines_before.unwrap_or(0)) + text;
        let root = match yaml::load(&padded, Duplicates::LastWins) {
            Ok(document) => document.root,
            Err(error) => return self.leave_out(error.place.line - 1, error.message),
        };
        let Some(entries) = root.sequence() else {
            if !root.is_null() {
                self.leave_out(
                    root.place.line - 1,
                    format!("a #cloud-config-archive is a list, and this is {}", root.kind()),
                );
            }
            return;
        };
        for entry in entries {
            match entry.mapping() {
                None if matches!(entry.scalar(), Some(yaml::Scalar::String(_))) => self.archived(entry, entry),
                None => self.leave_out(
                    entry.place.line - 1,
                    format!("expected a text or a mapping with content, found {}", entry.kind()),
                ),
                Some(_) => self.archived(entry, entry.get("content").unwrap_or(entry)),
            }
        }
    }

    fn archived(&mut self, entry: &Node, content: &Node) {
        let text = content_of(content);
        let of = |key: &str| entry.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        let content_type = of("type").unwrap_or_else(|| type_by_start(&text).unwrap_or("text/cloud-config"));
        let header = |name: &str| of(name).map(str::to_owned);
        let part = Part {
            kind: match kind(content_type) {
                Kind::Unknown(other) => Kind::Unknown(format!("{other} in a #cloud-config-archive")),
                known => known,
            },
            name: header("filename").unwrap_or_else(|| self.next_name()),
            merge: header("Merge-Type").or_else(|| header("X-Merge-Type")).unwrap_or_default(),
            launch_index: of("launch-index").and_then(|index| index.parse().ok()),
            text,
            lines_before: None,
        };
        self.list.push(part);
    }
}

/// What is said to be `!!binary` is base64.
fn content_of(node: &Node) -> String {
    let text = node.text().unwrap_or_default();
    let is_binary = node.tag.as_deref().is_some_and(|tag| tag.ends_with("binary"));
    let packed: String = text.split_whitespace().collect();
    let decoded = is_binary.then(|| BASE64_STANDARD.decode(packed).ok()).flatten();
    decoded.map_or_else(|| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use crate::boot::userdata::read;

    #[test]
    fn what_is_binary_is_decoded() {
        let user_data = read(
            b"#cloud-config-archive\n- {content: !!binary IyEvYmluL3NoCnRydWUK}\n- {type: text/x-shellscript, content: 'true'}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let texts: Vec<_> = user_data.scripts.iter().map(|script| script.text.as_str()).collect();
        assert_eq!(texts, ["#!/bin/sh\ntrue\n", "true"]);
    }
}

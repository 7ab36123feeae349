use super::Findings;
use super::findings::NOT_DONE;
use super::unpack::bounded_gunzip;
use super::values::{Flag, Text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::config::section::Section;
use hostwright_core::config::values::{AbsolutePath, FromNode, mismatch};
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::path::PathBuf;

/// A packed file may grow to this.
const MAX_FILE: u64 = 16 << 20;

/// One of `write_files:`. No `Debug`: the content may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct WriteFile {
    /// Where it belongs.
    pub path: PathBuf,
    /// Decoded.
    pub content: Vec<u8>,
    /// `user:group`, `user` or `:group`, by name or number.
    pub owner: String,
    /// Permission bits.
    pub mode: u32,
    /// Whether the content goes to the end of what is there.
    pub append: bool,
    /// Whether packages come first, since they bring its user or folder.
    pub defer: bool,
}

/// Permission bits, read from their text: `0644`, `"0644"`, `0o644`.
struct Permissions(u32);

impl FromNode for Permissions {
    const EXPECTED: &'static str = "permissions such as '0644'";

    fn from_node(node: &Node) -> Result<Self, String> {
        let digits = node.text().map(|text| text.trim_start_matches("0o")).filter(|text| !text.starts_with('+'));
        let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()).filter(|mode| *mode <= 0o7777);
        mode.map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// How the content is packed.
#[derive(Clone, Copy, Default)]
struct Encoding {
    base64: bool,
    gzip: bool,
}

impl FromNode for Encoding {
    const EXPECTED: &'static str = "b64, gz, gz+b64 or text/plain";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/plain" | "text" | "" => Ok(Self::default()),
            "b64" | "base64" => Ok(Self { base64: true, gzip: false }),
            "gz" | "gzip" => Ok(Self { base64: false, gzip: true }),
            "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => Ok(Self { base64: true, gzip: true }),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// Reads `write_files:`.
pub fn read(node: &Node, findings: &mut Findings) -> Vec<WriteFile> {
    let Some(items) = node.sequence() else {
        findings.error(node.place, "write_files", format!("expected a list of files, found {}", node.kind()));
        return Vec::new();
    };
    items.iter().filter_map(|item| findings.whole(item, "write_files", file)).collect()
}

fn file(mut section: Section<'_>, findings: &mut Findings) -> Option<WriteFile> {
    let path = section.required::<AbsolutePath>("path");
    let encoding = section.or("encoding", Encoding::default());
    let text = section.or("content", Text(String::new())).0;
    let content = decode(text, encoding).map_err(|message| section.problem_with("content", &message)).ok();
    if let Some(node) = section.node("permissions") {
        // cloud-init takes an unquoted 644 for the decimal number, which is mode 1204; nobody means that.
        if node.scalar() == node.text().and_then(|text| text.parse().ok()).map(hostwright_core::yaml::Scalar::Int)
            && node.text().is_some_and(|text| !text.starts_with('0'))
        {
            findings.warning(
                node.place,
                "write_files.permissions",
                "taken as octal; write it with a leading zero".into(),
            );
        }
    }
    let owner = section.or("owner", "root:root".to_owned());
    let mode = section.or("permissions", Permissions(0o644)).0;
    let [append, defer] = ["append", "defer"].map(|key| section.or(key, Flag(false)).0);
    section.refuse("source", NOT_DONE);
    let path = path?.0;
    if path.components().any(|part| part == std::path::Component::ParentDir) || path.file_name().is_none() {
        section.problem_with("path", "expected the path of a file, without '..' in it");
    }
    section.finish();
    Some(WriteFile { path, content: content?, owner, mode, append, defer })
}

fn decode(text: String, encoding: Encoding) -> Result<Vec<u8>, String> {
    let mut content = text.into_bytes();
    // gzip's bytes cannot stand in YAML: they come as `!!binary`, which is base64 as well.
    if encoding.base64 || (encoding.gzip && !content.starts_with(b"\x1f\x8b")) {
        content.retain(|byte| !byte.is_ascii_whitespace());
        content = BASE64_STANDARD.decode(content).map_err(|error| format!("this is not base64: {error}"))?;
    }
    if encoding.gzip {
        content = bounded_gunzip(&content, MAX_FILE)?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn files_are_decoded_and_permissions_are_octal_however_they_are_written() {
        let user_data = read(
            b"#cloud-config\nwrite_files:\n- {path: /a, content: x, permissions: 0600}\n- {path: /b, content: aGk=, encoding: b64, permissions: '0755', owner: 'a:b'}\n- {path: /c, encoding: gz+b64, content: H4sIAAAAAAAAA8vIBACsKpPYAgAAAA==, permissions: 640, append: true}\n- {path: /d, defer: true}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let files: Vec<_> =
            user_data.config.files.iter().map(|file| (&file.content[..], file.mode, file.append, file.defer)).collect();
        assert_eq!(
            files,
            [
                (&b"x"[..], 0o600, false, false),
                (b"hi", 0o755, false, false),
                (b"hi", 0o640, true, false),
                (b"", 0o644, false, true)
            ]
        );
        assert_eq!(user_data.findings.warnings.len(), 1);
        assert!(user_data.findings.warnings[0].message.contains("leading zero"));
    }

    #[test]
    fn wrong_files_are_left_out_with_a_reason_each() {
        let user_data = read(
            b"#cloud-config\nwrite_files:\n- {path: a}\n- {path: /a/../b}\n- {content: x}\n- {path: /c, permissions: '0999'}\n- {path: /d, encoding: rot13}\n- {path: /e, encoding: b64, content: '*'}\n",
        );
        assert!(user_data.config.files.is_empty());
        assert_eq!(user_data.findings.errors.len(), 6, "{:?}", user_data.findings.errors);
    }
}

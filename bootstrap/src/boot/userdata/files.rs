use super::Findings;
use super::secrets::secret_in;
use super::unpack::bounded_gunzip;
use super::values::{Flag, Text, said};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hostwright_core::config::section::Section;
use hostwright_core::config::values::{FromNode, mismatch};
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A packed file may grow to this.
const MAX_FILE: u64 = 16 << 20;

/// One of `write_files:`. No `Debug`: the content may hold secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct WriteFile {
    /// Where it belongs.
    pub path: PathBuf,
    /// Decoded. With a source this is what counts where the source cannot be had.
    pub content: Vec<u8>,
    /// Where its content is fetched from.
    pub source: Option<Source>,
    /// `user:group`, `user` or `:group`, by name or number.
    pub owner: String,
    /// Permission bits.
    pub mode: u32,
    /// Whether the content goes to the end of what is there.
    pub append: bool,
    /// Whether packages come first, since they bring its user or folder.
    pub defer: bool,
}

/// `source:` of a file. No `Debug`: headers may hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// `http://…`, `https://…` or `file:///…`
    pub uri: String,
    /// Sent with the request.
    pub headers: BTreeMap<String, String>,
    /// How the fetched content is packed.
    pub encoding: Encoding,
}

impl Source {
    /// The file of the host that it names, if it does.
    pub fn path(&self) -> Option<&Path> {
        self.uri.strip_prefix("file://").or_else(|| self.uri.starts_with('/').then_some(&*self.uri)).map(Path::new)
    }
}

/// Permission bits, read from their text: `0644`, `"0644"`, `0o644`.
struct Permissions(u32);

impl FromNode for Permissions {
    const EXPECTED: &'static str = "permissions such as '0644'";

    fn from_node(node: &Node) -> Result<Self, String> {
        let digits = node.text().map(|text| text.trim().trim_start_matches("0o")).filter(|text| !text.starts_with('+'));
        let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()).filter(|mode| *mode <= 0o7777);
        mode.map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// How the content is packed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Encoding {
    base64: bool,
    gzip: bool,
}

impl Encoding {
    /// Nothing for a name that cloud-init does not know.
    fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "text/plain" | "" => Some(Self::default()),
            "b64" | "base64" => Some(Self { base64: true, gzip: false }),
            "gz" | "gzip" => Some(Self { base64: false, gzip: true }),
            "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => Some(Self { base64: true, gzip: true }),
            _ => None,
        }
    }

    /// Undoes it.
    ///
    /// # Errors
    /// The content is not packed so.
    pub fn decode(self, mut content: Vec<u8>) -> Result<Vec<u8>, String> {
        // gzip's bytes cannot stand in YAML: they come as `!!binary`, which is base64 as well.
        if self.base64 || (self.gzip && !content.starts_with(b"\x1f\x8b")) {
            content.retain(|byte| !byte.is_ascii_whitespace());
            content = BASE64_STANDARD.decode(content).map_err(|error| format!("this is not base64: {error}"))?;
        }
        if self.gzip {
            content = bounded_gunzip(&content, MAX_FILE)?;
        }
        Ok(content)
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
    let path = section.required::<String>("path").map(|text| absolute(&text));
    let encoding = encoding(&mut section, findings);
    let (text, packing) = match section.node("content") {
        // YAML's own base64.
        Some(node) if node.tag.as_deref().is_some_and(|tag| tag.ends_with("binary")) && !encoding.base64 => {
            (node.text().unwrap_or_default().to_owned(), Encoding { base64: true, ..encoding })
        }
        _ => (section.or("content", Text(String::new())).0, encoding),
    };
    let content = packing.decode(text.into_bytes());
    let content = content.map_err(|message| section.problem_with("content", &message)).ok();
    let source = section.section("source", |section| source(section, encoding));
    let mode = mode(&mut section, content.as_deref().unwrap_or_default(), findings);
    let owner = said(&mut section, "owner").unwrap_or_else(|| "root:root".to_owned()).replace(char::is_whitespace, "");
    let [append, defer] = ["append", "defer"].map(|key| section.or(key, Flag(false)).0);
    if path.as_ref().is_some_and(|path| path.file_name().is_none()) {
        section.problem_with("path", "expected the path of a file");
    }
    section.finish();
    Some(WriteFile { path: path?, content: content?, source, owner, mode, append, defer })
}

fn encoding(section: &mut Section<'_>, findings: &mut Findings) -> Encoding {
    let Some(node) = section.node("encoding") else { return Encoding::default() };
    let text = node.text().unwrap_or_default();
    Encoding::named(text).unwrap_or_else(|| {
        let message = format!("{text:?} is no encoding; the content is taken as it is (b64, gz, gz+b64 or text/plain)");
        findings.tolerated(node.place, "write_files.encoding", &message);
        Encoding::default()
    })
}

fn mode(section: &mut Section<'_>, content: &[u8], findings: &mut Findings) -> u32 {
    let Some(node) = section.node("permissions") else { return unsaid_mode(section, content, findings) };
    if let Some(number) = unquoted(node) {
        let taken = if decimal_mode(number).is_some() { "the decimal number that it is for YAML" } else { "octal" };
        let message = format!("taken as {taken}; write it in quotes and with a leading zero");
        findings.warning(node.place, "write_files.permissions", message);
    }
    mode_of(node).unwrap_or_else(|why| {
        findings.tolerated(node.place, "write_files.permissions", &format!("{why}; it is as if nothing was said"));
        unsaid_mode(section, content, findings)
    })
}

/// The permission bits that are said under `permissions`.
pub fn mode_of(node: &Node) -> Result<u32, String> {
    match unquoted(node).and_then(decimal_mode) {
        Some(mode) => Ok(mode),
        None => Permissions::from_node(node).map(|mode| mode.0),
    }
}

/// A number without quotes and without a leading zero.
fn unquoted(node: &Node) -> Option<i64> {
    match node.scalar() {
        Some(Scalar::Int(number)) if node.text().is_some_and(|text| !text.starts_with('0')) => Some(number),
        _ => None,
    }
}

/// An unquoted number is a decimal one for cloud-init, as programs write it: 420 is mode 0644. People who leave the quotes
/// away mean the digits: nobody wants 644 to be mode 1204. Which it is shows in whom the mode lets do more.
fn decimal_mode(number: i64) -> Option<u32> {
    let is_usual = |mode: &u32| {
        let [owner, group, others] = [mode >> 6 & 7, mode >> 3 & 7, mode & 7];
        *mode <= 0o7777 && owner & 4 != 0 && group & !owner == 0 && others & !group == 0
    };
    let as_digits = u32::from_str_radix(&number.to_string(), 8).ok().filter(is_usual);
    u32::try_from(number).ok().filter(is_usual).filter(|_| as_digits.is_none())
}

fn unsaid_mode(section: &Section<'_>, content: &[u8], findings: &mut Findings) -> u32 {
    let secret = std::str::from_utf8(content).ok().and_then(secret_in);
    if let Some(word) = secret {
        let message =
            format!("it seems to hold a secret ({word}), so it is root's alone (0600) as long as nothing else is said");
        findings.warning(section.place(), "write_files.permissions", message);
    }
    if secret.is_some() { 0o600 } else { 0o644 }
}

fn source(mut section: Section<'_>, encoding: Encoding) -> Option<Source> {
    let uri = section.required::<String>("uri");
    let known = ["http://", "https://", "file://", "/"];
    if uri.as_ref().is_some_and(|uri| !known.iter().any(|start| uri.starts_with(start))) {
        section.problem_with("uri", "expected http://…, https://… or file:///…");
    }
    let mut headers = BTreeMap::new();
    if let Some(mapping) = section.node("headers").and_then(Node::mapping) {
        for entry in &mapping.entries {
            match entry.value.text() {
                Some(text) => drop(headers.insert(entry.key.clone(), text.to_owned())),
                None => section.problem_at(entry.value.place, "headers", "expected a string"),
            }
        }
    }
    section.finish();
    Some(Source { uri: uri?, headers, encoding })
}

/// As Python's `os.path.abspath` does in `/`: a relative path begins there, and `..` takes one name away.
fn absolute(text: &str) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in Path::new(text.trim_start_matches('\0')).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    path
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
    fn an_unquoted_number_is_what_its_writer_meant_and_an_empty_value_says_nothing() {
        for (number, mode) in [
            ("420", 0o644),
            ("493", 0o755),
            ("384", 0o600),
            ("416", 0o640),
            ("256", 0o400),
            ("2541", 0o4755),
            ("644", 0o644),
            ("700", 0o700),
            ("440", 0o440),
            ("604", 0o604),
            ("'420'", 0o420),
            ("0420", 0o420),
            ("''", 0o644),
        ] {
            let text =
                format!("#cloud-config\nwrite_files:\n- {{path: /a, permissions: {number}, owner: '', append: ''}}\n");
            let user_data = read(text.as_bytes());
            assert!(user_data.findings.errors.is_empty(), "{number}: {:?}", user_data.findings.errors);
            let file = &user_data.config.files[0];
            assert_eq!((file.mode, file.owner.as_str(), file.append), (mode, "root:root", false), "{number}");
        }
    }

    #[test]
    fn wrong_files_are_left_out_with_a_reason_each() {
        let user_data = read(
            b"#cloud-config\nwrite_files:\n- {path: /..}\n- {content: x}\n- {path: /e, encoding: b64, content: '*'}\n- {path: /f, source: {url: x}}\n",
        );
        assert!(user_data.config.files.is_empty());
        assert_eq!(user_data.findings.errors.len(), 4, "{:?}", user_data.findings.errors);
    }

    #[test]
    fn what_cloud_init_takes_is_taken() {
        let user_data = read(
            b"#cloud-config\nwrite_files:\n- {path: a/../b, content: 7}\n- {path: /d, encoding: rot13, content: x}\n- {path: /e, content: !!binary aGk=, permissions: u=rw}\n- {path: /f, content: or, source: {uri: 'https://x/', headers: {A: b}}}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        assert_eq!(user_data.findings.ignored.len(), 3, "{:?}", user_data.findings.ignored);
        let files = user_data.config.files;
        let told: Vec<_> = files.iter().map(|file| (file.path.to_str().expect("text"), &file.content[..])).collect();
        assert_eq!(told, [("/b", &b"7"[..]), ("/d", b"x"), ("/e", b"hi"), ("/f", b"or")]);
        assert_eq!(files[3].source.as_ref().map(|source| source.headers.len()), Some(1));
    }

    #[test]
    fn a_file_with_a_secret_is_roots_alone_unless_something_else_is_said() {
        let user_data = read(
            b"#cloud-config\nwrite_files:\n- {path: /a, content: 'PASSWORD=correcthorse'}\n- {path: /b, content: 'PASSWORD=correcthorse', permissions: '0644'}\n",
        );
        let modes: Vec<_> = user_data.config.files.iter().map(|file| file.mode).collect();
        assert_eq!(modes, [0o600, 0o644]);
    }
}

//! User-data → parts.
//!
//! In: bytes as the datasource has them, and a way to fetch what they include. Out: [`Part`]s in their order, each text
//! with its kind and name, packings and encodings undone, MIME messages and archives taken apart as cloud-init does.
//! Nothing survives a restart here; what was fetched is kept by the one who fetches.

/// `#cloud-config-archive`
mod archive;
/// Headers of MIME messages.
mod header;
/// `#include`
mod include;
/// MIME messages.
mod mime;
/// Content-Transfer-Encoding.
mod transfer;

pub use include::{Fetch, Include, NotFetched};

use super::findings::START;
use super::unpack;
use hostwright_core::config::section::Problem;
use mime::{Body, Entity};

/// Included places may include others up to this depth, and this many of them.
const MAX_DEPTH: usize = 10;
const MAX_PARTS: usize = 1000;
/// Of all parts, included ones too.
const MAX_BYTES: usize = 32 << 20;

/// What a part is to be treated as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `text/cloud-config`
    CloudConfig,
    /// `text/cloud-config-jsonp`
    JsonPatch,
    /// `text/jinja2`
    Template,
    /// `text/x-shellscript` and its kin
    Script(When),
    /// `text/cloud-boothook`
    Boothook,
    /// `text/part-handler`
    PartHandler,
    /// Anything else, by its type.
    Unknown(String),
}

/// When a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum When {
    /// Once for the instance, together with `runcmd:`, in the order of names.
    WithCommands,
    /// Once for the instance.
    Instance,
    /// At each boot.
    Boot,
    /// Once for the machine.
    Once,
}

/// One text of a user-data.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its attachment's name, or `part-001`.
    pub name: String,
    /// Decoded.
    pub text: String,
    /// `Merge-Type:` or `X-Merge-Type:` of its header.
    pub merge: String,
    /// For which of several instances that were launched together it is.
    pub launch_index: Option<i64>,
    /// Lines of the file before it; nothing where its lines are not the file's.
    pub lines_before: Option<usize>,
}

/// The parts of a user-data and what is wrong with the way they are put together.
#[derive(Debug, Default)]
pub struct Parts {
    /// In their order.
    pub list: Vec<Part>,
    /// What could not be had at all: as in cloud-init, nothing of the user-data is carried out then.
    pub errors: Vec<Problem>,
    /// Parts that are left out, each by itself.
    pub left_out: Vec<Problem>,
    /// Odd, but taken.
    pub warnings: Vec<Problem>,
    /// Places that only the network reaches; the list is not complete without them.
    pub waiting: Vec<String>,
    bytes: usize,
}

/// Takes a user-data apart.
pub fn collect(content: &[u8], fetch: &mut dyn Fetch) -> Parts {
    let mut parts = Parts::default();
    parts.blob(content, Depth(0), fetch);
    parts
}

#[derive(Clone, Copy)]
struct Depth(usize);

/// What is known of a leaf before its kind is.
struct Leaf<'a> {
    content_type: String,
    entity: Option<&'a Entity>,
    text: String,
    lines_before: Option<usize>,
}

impl Parts {
    /// Takes over another one's.
    pub fn append(&mut self, other: Self) {
        self.list.extend(other.list);
        self.errors.extend(other.errors);
        self.left_out.extend(other.left_out);
        self.warnings.extend(other.warnings);
        self.waiting.extend(other.waiting);
    }

    fn error(&mut self, line: usize, message: String) {
        let place = hostwright_core::yaml::Place { line: line + 1, column: 1 };
        self.errors.push(Problem { place, path: String::new(), message });
    }

    fn leave_out(&mut self, line: usize, message: String) {
        let place = hostwright_core::yaml::Place { line: line + 1, column: 1 };
        self.left_out.push(Problem { place, path: String::new(), message });
    }

    fn blob(&mut self, content: &[u8], depth: Depth, fetch: &mut dyn Fetch) {
        self.bytes += content.len();
        if depth.0 > MAX_DEPTH || self.list.len() > MAX_PARTS || self.bytes > MAX_BYTES {
            return self.error(0, format!("the user-data includes more than {MAX_PARTS} parts or {} MiB, or places that include others {MAX_DEPTH} deep", MAX_BYTES >> 20));
        }
        let (text, is_as_it_was) = match unpack::unpack(content) {
            Ok(unpacked) => unpacked,
            Err(message) => return self.error(0, message),
        };
        if text.trim().is_empty() {
            return;
        }
        let lines_before = (is_as_it_was && depth.0 == 0).then_some(0);
        if unpack::is_mime(&text) {
            match mime::parse(&text) {
                Ok(entity) => self.entity(&entity, lines_before, depth, fetch),
                Err(message) => self.error(0, message),
            }
        } else {
            let leaf = Leaf { content_type: "text/x-not-multipart".to_owned(), entity: None, text, lines_before };
            self.leaf(leaf, depth, fetch);
        }
    }

    fn entity(&mut self, entity: &Entity, lines: Option<usize>, depth: Depth, fetch: &mut dyn Fetch) {
        let (text, line) = match &entity.body {
            Body::Parts(parts) => {
                return parts.iter().for_each(|part| self.entity(part, lines, depth, fetch));
            }
            Body::Text(..) if entity.content_type().starts_with("multipart/") => {
                let why = "this MIME message has no parts: its boundary is missing, or never stands in it";
                return self.leave_out(0, why.to_owned());
            }
            Body::Text(text, line) => (text, *line),
        };
        let encoding = entity.header("content-transfer-encoding").unwrap_or_default();
        let decoded = transfer::decode(text, encoding);
        let lines_before = lines.map(|before| before + line).filter(|_| decoded.is_none());
        let bytes = decoded.unwrap_or_else(|| text.clone().into_bytes());
        let mut content_type = entity.content_type();
        let is_gzip = is_gzip_type(&content_type);
        let text = if is_gzip {
            content_type = "text/plain".to_owned();
            unpack::bounded_gunzip(&bytes, unpack::MAX_UNPACKED).and_then(|bytes| unpack::text(bytes, "utf-8"))
        } else if content_type.starts_with("text/") {
            let charset = entity.header("content-type").and_then(|value| header::parameter(value, "charset"));
            unpack::text(bytes, charset.as_deref().unwrap_or("utf-8"))
        } else {
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match text {
            Ok(text) => self.leaf(Leaf { content_type, entity: Some(entity), text, lines_before }, depth, fetch),
            Err(message) => {
                let name = entity.file_name().unwrap_or_else(|| self.next_name());
                let message = format!("the part {name:?}: {message}");
                if is_gzip { self.error(line, message) } else { self.leave_out(line, message) }
            }
        }
    }

    fn leaf(&mut self, leaf: Leaf<'_>, depth: Depth, fetch: &mut dyn Fetch) {
        let Leaf { mut content_type, entity, text, lines_before } = leaf;
        if matches!(content_type.as_str(), "text/plain" | "text/x-not-multipart" | "text/x-shellscript") {
            content_type = type_by_start(&text).map_or(content_type, str::to_owned);
        }
        match content_type.as_str() {
            "text/x-include-url" | "text/x-include-once-url" => self.include(&text, lines_before, depth, fetch),
            "text/cloud-config-archive" => self.archive(&text, lines_before),
            _ => {
                let header = |name: &str| entity.and_then(|entity| entity.header(name));
                let own_name = entity.and_then(Entity::file_name);
                let part = Part {
                    name: own_name.unwrap_or_else(|| self.next_name()),
                    kind: kind(&content_type),
                    merge: entity.map(|entity| self.merge_header(entity)).unwrap_or_default(),
                    launch_index: header("launch-index").and_then(|index| index.trim().parse().ok()),
                    text,
                    lines_before,
                };
                self.list.push(part);
            }
        }
    }

    fn next_name(&self) -> String {
        format!("part-{:03}", self.list.len() + 1)
    }

    /// cloud-init looks for the header in exactly this spelling.
    fn merge_header(&mut self, entity: &Entity) -> String {
        let exact = |name: &str| entity.headers.iter().find(|header| header.name == name).map(|h| h.value.clone());
        let found = ["Merge-Type", "X-Merge-Type"].into_iter().filter_map(exact).find(|value| !value.is_empty());
        let other = entity.header("merge-type").or_else(|| entity.header("x-merge-type"));
        if found.is_none() && other.is_some() {
            let message = "a header in this spelling counts for nothing; write Merge-Type: or X-Merge-Type:".to_owned();
            self.warnings.push(Problem { place: START, path: "Merge-Type".to_owned(), message });
        }
        found.unwrap_or_default()
    }
}

fn is_gzip_type(content_type: &str) -> bool {
    let Some(kind) = content_type.strip_prefix("application/") else { return false };
    let kinds = ["gzip", "gzip-compressed", "gzipped", "x-compress", "x-compressed", "x-gunzip", "x-gzip"];
    kinds.contains(&kind) || kind == "x-gzip-compressed"
}

/// The type of a text by its first words; the longer of two words with the same beginning stands first.
pub fn type_by_start(text: &str) -> Option<&'static str> {
    const STARTS: [(&str, &str); 9] = [
        ("#cloud-config-archive", "text/cloud-config-archive"),
        ("#cloud-config-jsonp", "text/cloud-config-jsonp"),
        ("## template: jinja", "text/jinja2"),
        ("#cloud-boothook", "text/cloud-boothook"),
        ("#include-once", "text/x-include-once-url"),
        ("#cloud-config", "text/cloud-config"),
        ("#part-handler", "text/part-handler"),
        ("#include", "text/x-include-url"),
        ("#!", "text/x-shellscript"),
    ];
    let start: String = text.trim_start().chars().take(24).collect::<String>().to_lowercase();
    STARTS.iter().find(|(word, _)| start.starts_with(word)).map(|(_, content_type)| *content_type)
}

fn kind(content_type: &str) -> Kind {
    match content_type {
        "text/cloud-config" => Kind::CloudConfig,
        "text/cloud-config-jsonp" => Kind::JsonPatch,
        "text/jinja2" => Kind::Template,
        "text/x-shellscript" => Kind::Script(When::WithCommands),
        "text/x-shellscript-per-instance" => Kind::Script(When::Instance),
        "text/x-shellscript-per-boot" => Kind::Script(When::Boot),
        "text/x-shellscript-per-once" => Kind::Script(When::Once),
        "text/cloud-boothook" => Kind::Boothook,
        "text/part-handler" => Kind::PartHandler,
        other => Kind::Unknown(other.to_owned()),
    }
}

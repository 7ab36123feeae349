use crate::config::endpoint::{Compress, Endpoint};
use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

/// What happens to the local product after the bucket has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It stays.
    Keep,
    /// It stays for so long, and is deleted then.
    KeepFor(Duration),
    /// It is deleted.
    Delete,
    /// It is moved to this folder, under its path in the watched one.
    Move(PathBuf),
}

/// Whom a confirmed product is told, and how. Each is told each product's manifest, until it has taken it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// A server.
    pub webhook: Option<Webhook>,
    /// A file that gets a line of JSON, for a source of logs.
    pub log: Option<PathBuf>,
    /// A program with its arguments, which reads the manifest from its standard input.
    pub command: Option<Vec<String>>,
}

/// A server that is told products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What the bodies are signed with.
    pub secret: SecretRef,
}

/// The word of what happens afterwards.
struct Word(Afterwards);

impl FromNode for Word {
    const EXPECTED: &'static str = "keep, delete, {keep: 7d} or {move: /folder}";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("keep") => Ok(Self(Afterwards::Keep)),
            Some("delete") => Ok(Self(Afterwards::Delete)),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// A program with its arguments.
struct Command(Vec<String>);

impl FromNode for Command {
    const EXPECTED: &'static str = "a command as a list, its program by absolute path: [/usr/bin/catalogue, --add]";

    fn from_node(node: &Node) -> Result<Self, String> {
        let items = node.sequence().ok_or_else(|| mismatch::<Self>(node))?;
        let words = items.iter().map(|item| item.text().map(str::to_owned)).collect::<Option<Vec<_>>>();
        match words {
            Some(words) if words.first().is_some_and(|program| program.starts_with('/')) => Ok(Self(words)),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Afterwards {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let Some(node) = section.node("afterwards") else { return Self::Keep };
        if node.mapping().is_none() {
            return section.value("afterwards", node).map_or(Self::Keep, |Word(afterwards)| afterwards);
        }
        let read = section.section("afterwards", |mut below| {
            below.exactly_one(&["keep", "move"]);
            let keep = below.optional("keep").map(Self::KeepFor);
            let to = below.optional::<AbsolutePath>("move").map(|folder| Self::Move(folder.0));
            below.finish();
            keep.or(to)
        });
        let watch = section.node("watch").and_then(Node::text).map(PathBuf::from).unwrap_or_default();
        if let Some(Self::Move(folder)) = &read
            && folder.starts_with(&watch)
        {
            let folder = folder.display();
            section
                .problem_with("afterwards", &format!("{folder} lies in the watched folder: it would be found again"));
        }
        read.unwrap_or(Self::Keep)
    }

    /// Whether local products go away sooner or later.
    pub fn takes_away(&self) -> bool {
        *self != Self::Keep
    }
}

impl Notice {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let webhook = section.section("webhook", |mut below| {
            let endpoint = Endpoint::read(&mut below, &[Compress::None]);
            let secret = below.required("secret");
            below.finish();
            Some(Webhook { endpoint: endpoint?, secret: secret? })
        });
        let log = section.optional::<AbsolutePath>("log").map(|path| path.0);
        let command = section.optional::<Command>("command").map(|command| command.0);
        section.finish();
        Some(Self { webhook, log, command })
    }

    /// Whether nobody is told.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

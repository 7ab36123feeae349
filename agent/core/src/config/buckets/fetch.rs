use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

/// How often a bucket is asked, unless it is said.
const EVERY: Duration = Duration::from_secs(300);
const LEAST: Duration = Duration::from_secs(1);

/// What is brought down from a bucket, and kept as the bucket has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which objects.
    pub what: What,
    /// The file that an object becomes, or the folder that takes all of a prefix.
    pub to: PathBuf,
    /// How often the bucket is asked what is new.
    pub every: Duration,
    /// The files' owner by name; who runs the agent unless given.
    pub owner: Option<String>,
    /// The files' group by name.
    pub group: Option<String>,
    /// The files' permission bits.
    pub mode: u32,
    /// Whether files that were fetched go when their objects go.
    pub delete: bool,
}

/// Which objects are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// One.
    Key(String),
    /// All whose keys begin so; what follows is the path in the folder.
    Prefix(String),
}

/// Permission bits in octal, as in chmod(1).
struct Mode(u32);

impl FromNode for Mode {
    const EXPECTED: &'static str = "permissions in octal such as \"0644\"";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let digits = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if matches!(digits.len(), 3 | 4) && mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Fetch {
    /// Reads the list under `fetch`.
    pub(super) fn list(section: &mut Section<'_>) -> Vec<Self> {
        let Some(node) = section.node("fetch") else { return Vec::new() };
        let items = section.items("fetch", node).unwrap_or_default();
        items.iter().filter_map(|item| section.item("fetch", item).and_then(Self::read)).collect()
    }

    fn read(mut section: Section<'_>) -> Option<Self> {
        section.exactly_one(&["key", "prefix"]);
        let key = section.optional::<String>("key").map(What::Key);
        let prefix = section.optional::<String>("prefix").map(What::Prefix);
        let to = section.required::<AbsolutePath>("to");
        let every = section.or("every", EVERY);
        if every < LEAST {
            section.problem_with("every", "once in a second is the most that a bucket is asked");
        }
        let (owner, group) = (section.optional("owner"), section.optional("group"));
        let mode = section.optional::<Mode>("mode").map_or(0o644, |mode| mode.0);
        let delete = section.or("delete", false);
        if section.has("key") && section.has("delete") {
            section.problem_with("delete", "it belongs to a prefix: a file whose object is gone stays");
        }
        section.finish();
        Some(Self { what: key.or(prefix)?, to: to?.0, every, owner, group, mode, delete })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fetch, What};
    use crate::config::Config;
    use std::time::Duration;

    fn read(text: &str) -> Result<Vec<Fetch>, String> {
        let text = format!("buckets: {{b: {{endpoint: 'file:///srv/b', fetch: {text}}}}}\n");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        Ok(config.fetches.get("b").cloned().unwrap_or_default())
    }

    #[test]
    fn objects_and_prefixes_become_files_and_folders() {
        let text = "[{key: config/envoy.yaml, to: /etc/envoy.yaml, owner: root, mode: '0600'}, {prefix: aux/, to: /srv/aux, every: 1h, delete: true}]";
        let read = read(text).expect("valid");
        assert_eq!(read[0].what, What::Key("config/envoy.yaml".into()));
        assert_eq!((read[0].mode, read[0].every, read[0].delete), (0o600, Duration::from_secs(300), false));
        assert_eq!((read[1].what.clone(), read[1].delete), (What::Prefix("aux/".into()), true));
    }

    #[test]
    fn what_cannot_be_fetched_is_refused() {
        for (text, words) in [
            ("[{to: /x}]", "one of the keys key, prefix"),
            ("[{key: a, prefix: b, to: /x}]", "only one of the keys"),
            ("[{key: a}]", "\"to\" is missing"),
            ("[{key: a, to: x}]", "an absolute path"),
            ("[{key: a, to: /x, mode: rw}]", "octal"),
            ("[{key: a, to: /x, delete: true}]", "belongs to a prefix"),
            ("[{key: a, to: /x, every: 1ms}]", "once in a second"),
            ("{key: a, to: /x}", "expected a list"),
            ("[{key: a, to: /x, ower: me}]", "did you mean \"owner\"?"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

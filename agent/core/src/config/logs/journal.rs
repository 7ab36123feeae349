use super::spooled::Spooled;
use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;

/// The systemd journal as a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Units whose entries are taken; all unless given.
    pub units: Vec<String>,
    /// `FIELD=value` as journalctl takes them: several of one field are alternatives, different fields must all match.
    pub matches: Vec<String>,
    /// The least severe entries that are taken (0: emerg, 7: debug); all unless given.
    pub priority: Option<u8>,
    /// Where to begin when nothing was read yet.
    pub since: Since,
    /// Another journal than the system's own.
    pub directory: Option<PathBuf>,
    /// How its entries are kept until outputs have them.
    pub spooled: Spooled,
}

/// Where to begin in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With this boot.
    Boot,
    /// With the oldest entry that there is.
    Beginning,
    /// With what comes.
    Now,
}

impl FromNode for Since {
    const EXPECTED: &'static str = "boot, beginning or now";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("boot") => Ok(Self::Boot),
            Some("beginning") => Ok(Self::Beginning),
            Some("now") => Ok(Self::Now),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

struct Unit(String);

impl FromNode for Unit {
    const EXPECTED: &'static str = "a unit's name such as ssh.service";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| !text.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        // journalctl would resolve a pattern once, when it starts.
        if text.contains(['*', '?', '[']) {
            return Err(format!(
                "{text:?} is a pattern, which would miss units that come later; name each unit, or use matches"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

struct Match(String);

impl FromNode for Match {
    const EXPECTED: &'static str = "a match such as _TRANSPORT=kernel";

    fn from_node(node: &Node) -> Result<Self, String> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        };
        let fits = |text: &&str| text.split_once('=').is_some_and(|(name, _)| is_name(name));
        node.text().filter(fits).map(|text| Self(text.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

struct Priority(u8);

impl FromNode for Priority {
    const EXPECTED: &'static str = "a priority: emerg, alert, crit, err, warning, notice, info, debug, or 0 to 7";

    fn from_node(node: &Node) -> Result<Self, String> {
        const NAMES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
        let text = node.text().unwrap_or_default();
        let numbered = (0..8).zip(NAMES).find(|(number, name)| *name == text || text == number.to_string());
        numbered.map(|(number, _)| Self(number)).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl Journal {
    pub(super) fn read(mut section: Section<'_>, spooled: Spooled) -> Option<Self> {
        let units = section.list::<Unit>("units").unwrap_or_default();
        let matches = section.list::<Match>("matches").unwrap_or_default();
        let priority = section.optional::<Priority>("priority").map(|priority| priority.0);
        let since = section.or("since", Since::Boot);
        let directory = section.optional::<AbsolutePath>("directory").map(|path| path.0);
        section.finish();
        Some(Self {
            units: units.into_iter().map(|unit| unit.0).collect(),
            matches: matches.into_iter().map(|one| one.0).collect(),
            priority,
            since,
            directory,
            spooled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Kind;
    use super::{Journal, Since};
    use crate::config::Config;

    fn read(journal: &str) -> Result<Journal, String> {
        let text = format!(
            "logs:\n  sources:\n    a: {{journal: {journal}, outputs: [o]}}\n  outputs: {{o: {{file: {{path: /o}}}}}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").sources["a"].kind.clone() {
            Kind::Journal(journal) => Ok(journal),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_whole_journal_of_this_boot_unless_said_otherwise() {
        let all = read("{}").expect("valid");
        assert_eq!((all.units.len(), all.matches.len(), all.priority, all.since), (0, 0, None, Since::Boot));
        assert_eq!(all.spooled.limit.0, 256 << 20);
        let some =
            read("{units: [ssh.service], matches: _TRANSPORT=kernel, priority: err, since: now}").expect("valid");
        assert_eq!((some.units, some.matches), (vec!["ssh.service".into()], vec!["_TRANSPORT=kernel".into()]));
        assert_eq!((some.priority, some.since), (Some(3), Since::Now));
    }

    #[test]
    fn what_journalctl_would_take_for_something_else_is_refused() {
        for (wrong, complaint) in [
            ("{units: ['web*']}", "would miss units that come later"),
            ("{matches: ['--vacuum-time=1s']}", "expected a match"),
            ("{priority: loud}", "expected a priority"),
            ("{unit: x}", "did you mean \"units\"?"),
        ] {
            let message = read(wrong).expect_err("refused");
            assert!(message.contains(complaint), "{message}");
        }
    }
}

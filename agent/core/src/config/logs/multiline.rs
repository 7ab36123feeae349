use super::Pattern;
use crate::config::section::Section;
use crate::config::values::FromNode;
use crate::yaml::Node;
use std::time::Duration;

/// How long a file is quiet before its last event counts as complete.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Which lines belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiline {
    /// What tells.
    pub rule: Rule,
    /// How long a file is quiet before its last event counts as complete.
    pub timeout: Duration,
}

/// What tells which lines belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A line that matches begins an event; the lines up to the next such line belong to it.
    Start(Pattern),
    /// A line that matches belongs to the event before it.
    Continuation(Pattern),
}

/// Lines of stack traces: what is indented, and what each language adds to it.
const PRESETS: [(&str, &str); 3] = [
    (
        "java",
        r"^\s|^Caused by: |^Suppressed: |^[[:alpha:]_$][[:word:]$]*(?:\.[[:alpha:]_$][[:word:]$]*)+(?:Exception|Error|Throwable)\b",
    ),
    (
        "python",
        r"^\s|^Traceback \(most recent call last\):|^During handling of the above exception|^The above exception was the direct cause|^$|^(?:[[:alpha:]_][[:word:]]*\.)*[[:upper:]][[:word:]]*(?:Error|Exception|Warning|Interrupt|Exit|Iteration)(?::|$)",
    ),
    ("go", r"^\s|^$|^goroutine \d+ \[|^created by |^\[signal |^[[:word:]./*()\-]+\(.*\)$|^exit status \d+$"),
];

struct Preset(Pattern);

impl FromNode for Preset {
    const EXPECTED: &'static str = "java, python, go, or the keys start or continuation";

    fn from_node(node: &Node) -> Result<Self, String> {
        let found = PRESETS.iter().find(|(name, _)| Some(*name) == node.text());
        let (_, pattern) = found.ok_or_else(|| crate::config::values::mismatch::<Self>(node))?;
        Pattern::from_node(&Node {
            value: crate::yaml::Value::Scalar { text: (*pattern).into(), plain: false },
            ..node.clone()
        })
        .map(Self)
    }
}

impl Multiline {
    pub(super) fn read(source: &mut Section<'_>) -> Option<Self> {
        let node = source.node("multiline")?;
        if node.mapping().is_none() {
            let Preset(pattern) = source.value("multiline", node)?;
            return Some(Self { rule: Rule::Continuation(pattern), timeout: TIMEOUT });
        }
        let mut section = source.item("multiline", node)?;
        section.exactly_one(&["start", "continuation"]);
        let start = section.optional("start").map(Rule::Start);
        let rule = start.or(section.optional("continuation").map(Rule::Continuation));
        let timeout = section.or("timeout", TIMEOUT);
        if !(Duration::from_millis(100)..=Duration::from_secs(300)).contains(&timeout) {
            section.problem_with("timeout", "between 100ms and 5m: the last event of a quiet file waits so long");
        }
        section.finish();
        Some(Self { rule: rule?, timeout })
    }
}

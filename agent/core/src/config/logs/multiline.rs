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

#[cfg(test)]
mod tests {
    use super::super::source::tests::source;
    use super::Rule;
    use std::time::Duration;

    #[test]
    fn lines_belong_together_by_start_continuation_or_language() {
        let multiline =
            |text: &str| source(&format!("multiline: {text}")).map(|source| source.multiline.expect("present"));
        let start = multiline("{start: '^x', timeout: 500ms}").expect("valid");
        assert!(matches!(&start.rule, Rule::Start(pattern) if pattern.as_str() == "^x"));
        assert_eq!(start.timeout, Duration::from_millis(500));
        for name in ["java", "python", "go"] {
            assert!(matches!(multiline(name).expect("valid").rule, Rule::Continuation(_)));
        }
        for (wrong, why) in [
            ("{timeout: 1s}", "one of the keys start, continuation is needed"),
            ("{start: a, continuation: b}", "only one of the keys"),
            ("{start: a, timeout: 1h}", "between 100ms and 5m"),
            ("cobol", "java, python, go"),
        ] {
            let message = multiline(wrong).expect_err(wrong);
            assert!(message.contains(why), "{message}");
        }
        assert!(source("multiline: go\n      parse: cri").expect("valid").multiline.is_some());
    }

    #[test]
    fn stack_traces_of_each_language_are_one_event() {
        let traces = [
            (
                "java",
                "Exception in thread \"main\" java.lang.IllegalStateException: no\n\tat com.example.Main.run(Main.java:5)\nCaused by: java.io.IOException: gone\n\t... 3 more",
            ),
            ("java", "2026-11-20 10:11:12 ERROR failed\njava.lang.NullPointerException: null\n\tat a.B.c(B.java:1)"),
            (
                "python",
                "ERROR:root:failed\nTraceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    f()\nValueError: no\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"x.py\", line 2\nrequests.exceptions.ConnectionError: no",
            ),
            (
                "go",
                "panic: no\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/x/main.go:5 +0x1d\ncreated by main.main\n\t/x/main.go:9\nexit status 2",
            ),
        ];
        for (name, trace) in traces {
            let multiline = source(&format!("multiline: {name}")).expect("valid").multiline.expect("present");
            let Rule::Continuation(pattern) = &multiline.rule else { panic!("a preset tells continuations") };
            let regex = regex::Regex::new(pattern.as_str()).expect("valid");
            for (number, line) in trace.lines().enumerate() {
                assert_eq!(regex.is_match(line), number > 0, "{name}: {line}");
            }
            for line in
                ["2026-11-20 10:11:12 INFO next", "INFO: all is well", "Started in 3 s", "{\"a\":1}", "10.0.0.1 GET /"]
            {
                assert!(!regex.is_match(line), "{name}: {line}");
            }
        }
    }
}

use crate::config::expression::invalid;
use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;
use regex::bytes::{Regex, RegexBuilder};
use std::cell::LazyCell;

/// A regular expression on names, as node_exporter's flags take them: it may match anywhere in a name.
#[derive(Clone, Debug)]
pub struct NamePattern(Regex);

impl NamePattern {
    fn new(expression: &str) -> Result<Self, regex::Error> {
        // Classes such as \d are ASCII's, as in the original, and cost less; some classes have a meaning in Unicode only.
        let ascii = RegexBuilder::new(expression).unicode(false).build();
        ascii.or_else(|_| Regex::new(expression)).map(Self)
    }

    /// Whether it matches somewhere in `name`, which need not be UTF-8.
    pub fn is_match(&self, name: &[u8]) -> bool {
        self.0.is_match(name)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl FromNode for NamePattern {
    const EXPECTED: &'static str = "a regular expression such as '^(lo|veth.*)$'";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().ok_or_else(|| mismatch::<Self>(node))?;
        Self::new(text).map_err(|error| invalid(text, &error))
    }
}

/// A regular expression that must match the whole name.
struct WholePattern(NamePattern);

impl FromNode for WholePattern {
    const EXPECTED: &'static str = NamePattern::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        let NamePattern(pattern) = NamePattern::from_node(node)?;
        // What is valid by itself is so as a group.
        NamePattern::new(&whole(pattern.as_str())).map(Self).map_err(|error| error.to_string())
    }
}

fn whole(expression: &str) -> String {
    format!("^(?:{expression})$")
}

/// Which names are taken: those that `include` matches, without those that `exclude` matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    include: Option<NamePattern>,
    exclude: Option<NamePattern>,
}

impl Filter {
    /// Takes what the expression does not match; one that is none takes everything.
    pub fn excluding(expression: &str) -> Self {
        Self { include: None, exclude: NamePattern::new(expression).ok() }
    }

    /// Takes what the expression matches; one that is none takes everything.
    pub fn including(expression: &str) -> Self {
        Self { include: NamePattern::new(expression).ok(), exclude: None }
    }

    /// Takes whole names that one expression matches, without those that the other does.
    pub fn whole(include: &str, exclude: &str) -> Self {
        let pattern = |expression| NamePattern::new(&whole(expression)).ok();
        Self { include: pattern(include), exclude: pattern(exclude) }
    }

    /// Whether the name is taken.
    pub fn admits(&self, name: &[u8]) -> bool {
        self.include.as_ref().is_none_or(|pattern| pattern.is_match(name))
            && !self.exclude.as_ref().is_some_and(|pattern| pattern.is_match(name))
    }

    /// For names that are looked at once: what an expression keeps for the next one (64 kB and more) goes with this.
    pub fn once(&self) -> LazyCell<Self, impl FnOnce() -> Self> {
        LazyCell::new(|| self.clone())
    }

    /// Whether nothing is left out.
    pub fn admits_all(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Reads the two keys, of which only one may be given; `include` makes the default for `exclude` void. An empty
    /// expression is none.
    pub fn read(&mut self, section: &mut Section<'_>, include: &'static str, exclude: &'static str) {
        let mut given = Self::default();
        given.read_both(section, include, exclude);
        section.at_most_one(&[include, exclude]);
        if section.has(include) || section.has(exclude) {
            *self = given;
        }
    }

    /// Reads the two keys, of which each has its own default. An empty expression is none.
    pub fn read_both(&mut self, section: &mut Section<'_>, include: &'static str, exclude: &'static str) {
        for (key, slot) in [(include, &mut self.include), (exclude, &mut self.exclude)] {
            if let Some(pattern) = section.optional::<NamePattern>(key) {
                *slot = Some(pattern).filter(|pattern| !pattern.0.as_str().is_empty());
            }
        }
    }

    /// Reads the two keys, of which each has its own default, as expressions that match whole names.
    pub fn read_whole(&mut self, section: &mut Section<'_>, include: &'static str, exclude: &'static str) {
        for (key, slot) in [(include, &mut self.include), (exclude, &mut self.exclude)] {
            if let Some(WholePattern(pattern)) = section.optional(key) {
                *slot = Some(pattern);
            }
        }
    }

    /// Reads one key that says what is taken. An empty expression takes everything.
    pub fn read_include(&mut self, section: &mut Section<'_>, include: &'static str) {
        if let Some(pattern) = section.optional::<NamePattern>(include) {
            self.include = Some(pattern);
        }
    }

    /// Reads one key that says what is left out. An empty expression is none.
    pub fn read_exclude(&mut self, section: &mut Section<'_>, exclude: &'static str) {
        if let Some(pattern) = section.optional::<NamePattern>(exclude) {
            self.exclude = Some(pattern).filter(|pattern| !pattern.0.as_str().is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use crate::config::section::{Problems, Section};
    use crate::yaml::{Duplicates, load};

    fn read(mut filter: Filter, text: &str) -> (Filter, Vec<String>) {
        let document = load(text, Duplicates::Refuse).expect("YAML");
        let problems = Problems::default();
        let mut section = Section::open(&document.root, "netdev", &problems).expect("a mapping");
        filter.read(&mut section, "device_include", "device_exclude");
        section.finish();
        (filter, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_expression_matches_anywhere_and_on_bytes() {
        let filter = Filter::excluding(r"^br-|\d$");
        assert!(filter.admits(b"lo") && filter.admits(b"br0x") && filter.admits(b"\xff\xfe"));
        assert!(!filter.admits(b"br-1x") && !filter.admits(b"eth0"));
        assert!(Filter::including(r"\pL").admits("é".as_bytes()), "classes of Unicode are known");
        assert!(Filter::excluding("^é$").admits(b"e") && !Filter::excluding("^é$").admits("é".as_bytes()));
    }

    #[test]
    fn what_is_given_is_in_place_of_the_default_and_only_one_of_both_may_be() {
        let default = Filter::excluding("^lo$");
        assert_eq!(read(default.clone(), "{}"), (default.clone(), vec![]));
        assert!(read(default.clone(), "{device_exclude: ''}").0.admits_all());
        assert_eq!(read(default.clone(), "{device_include: lo}"), (Filter::including("lo"), vec![]));
        let (_, problems) = read(default.clone(), "{device_include: lo, device_exclude: eth}");
        assert!(problems[0].contains("only one of the keys device_include, device_exclude"), "{problems:?}");
        let (_, problems) = read(default, "{device_exclude: '(lo'}");
        assert!(problems[0].contains("\"(lo\" is no valid regular expression: unclosed group"), "{problems:?}");
    }
}

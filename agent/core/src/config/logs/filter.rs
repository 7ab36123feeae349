use super::Pattern;
use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is done to a record before it is shipped, or whether it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Only what matches is shipped.
    Keep(Matching),
    /// What matches is not shipped.
    Drop(Matching),
    /// One record in so many is shipped, always the same ones.
    Sample(u64),
    /// At most so many records in a time; what is beyond is not shipped.
    RateLimit(RateLimit),
    /// What should not leave the host is replaced by `[redacted]`.
    Redact(Vec<Secret>),
    /// Fields get other names.
    Rename(BTreeMap<String, String>),
    /// Fields are left out.
    Remove(Vec<String>),
    /// Fields are added, unless the record has them. `${name}` is the host's label of that name, `${host}` its name.
    Add(BTreeMap<String, String>),
}

/// What a record is tested for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matching {
    /// Matches somewhere in the text.
    pub pattern: Pattern,
    /// Of this field; of the record's whole text unless given.
    pub field: Option<String>,
}

/// So many records in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Records.
    pub lines: u64,
    /// The time; counted by the records' own time.
    pub per: Duration,
}

/// What should not leave the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// Keys and passwords: known forms of tokens, and the values of fields with telling names.
    Tokens,
    /// Payment cards' numbers, by their issuer's range and check digit.
    CardNumbers,
    /// E-mail addresses.
    Emails,
    /// What matches; if the expression has a group `secret`, this group of it.
    Pattern(Pattern),
}

impl FromNode for Secret {
    const EXPECTED: &'static str = "tokens, card-numbers, emails or a regular expression";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("tokens") => Ok(Self::Tokens),
            Some("card-numbers") => Ok(Self::CardNumbers),
            Some("emails") => Ok(Self::Emails),
            Some(_) => {
                let pattern = Pattern::from_node(node)?;
                if regex::Regex::new(pattern.as_str()).is_ok_and(|regex| regex.is_match("")) {
                    return Err(format!(
                        "{:?} matches nothing at all too, so it would stand everywhere",
                        pattern.as_str()
                    ));
                }
                Ok(Self::Pattern(pattern))
            }
            None => Err(mismatch::<Self>(node)),
        }
    }
}

/// Names of fields with texts.
struct Texts(BTreeMap<String, String>);

impl FromNode for Texts {
    const EXPECTED: &'static str = "fields with texts such as {team: payments}";

    fn from_node(node: &Node) -> Result<Self, String> {
        let mapping =
            node.mapping().filter(|mapping| !mapping.entries.is_empty()).ok_or_else(|| mismatch::<Self>(node))?;
        let text = |entry: &crate::yaml::Entry| match entry.value.text() {
            Some(text) if !entry.key.is_empty() => Ok((entry.key.clone(), text.to_owned())),
            _ => Err(format!("the field {:?} takes a text, found {}", entry.key, entry.value.kind())),
        };
        mapping.entries.iter().map(text).collect::<Result<_, _>>().map(Self)
    }
}

const KINDS: [&str; 8] = ["keep", "drop", "sample", "rate_limit", "redact", "rename", "remove", "add"];

impl Filter {
    pub(super) fn read_all(source: &mut Section<'_>) -> Vec<Self> {
        let Some(node) = source.node("filters") else { return Vec::new() };
        let items = source.items("filters", node).unwrap_or_default();
        items.iter().filter_map(|item| Self::read(source.item("filters", item)?)).collect()
    }

    fn read(mut section: Section<'_>) -> Option<Self> {
        section.exactly_one(&KINDS);
        let keep = Matching::read(&mut section, "keep").map(Self::Keep);
        let drop = Matching::read(&mut section, "drop").map(Self::Drop);
        let sample = section.section("sample", read_sample).map(Self::Sample);
        let rate_limit = section.section("rate_limit", RateLimit::read).map(Self::RateLimit);
        let redact = section.list("redact").map(Self::Redact);
        let rename = section.optional::<Texts>("rename").map(|texts| Self::Rename(texts.0));
        let remove = section.list("remove").map(Self::Remove);
        let add = section.optional::<Texts>("add").map(|texts| Self::Add(texts.0));
        section.finish();
        keep.or(drop).or(sample).or(rate_limit).or(redact).or(rename).or(remove).or(add)
    }

    /// Puts what the names in `${…}` stand for in their place; what has no meaning stays as it is.
    pub fn resolve(&mut self, meaning: impl Fn(&str) -> Option<String>) {
        let Self::Add(fields) = self else { return };
        for value in fields.values_mut() {
            let mut resolved = String::new();
            let mut rest = &value[..];
            while let Some((before, behind)) = rest.split_once("${") {
                let reference = behind.split_once('}').and_then(|(name, behind)| Some((meaning(name)?, behind)));
                resolved.push_str(before);
                match reference {
                    Some((text, behind)) => {
                        resolved.push_str(&text);
                        rest = behind;
                    }
                    None => {
                        resolved.push_str("${");
                        rest = behind;
                    }
                }
            }
            resolved.push_str(rest);
            *value = resolved;
        }
    }
}

impl Matching {
    /// A mapping, or the expression alone.
    fn read(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let node = section.node(key)?;
        if node.mapping().is_none() {
            return Some(Self { pattern: section.value(key, node)?, field: None });
        }
        let mut section = section.item(key, node)?;
        let pattern = section.required("match");
        let field = section.optional("field");
        section.finish();
        Some(Self { pattern: pattern?, field })
    }
}

fn read_sample(mut section: Section<'_>) -> Option<u64> {
    let one_in = section.required("one_in");
    if one_in == Some(0) {
        section.problem_with("one_in", "at least 1: one record in so many is shipped");
    }
    section.finish();
    one_in
}

impl RateLimit {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let lines = section.required("lines");
        let per = section.or("per", Duration::from_secs(1));
        if !(Duration::from_millis(100)..=Duration::from_secs(86400)).contains(&per) {
            section.problem_with("per", "between 100ms and 1d");
        }
        section.finish();
        Some(Self { lines: lines?, per })
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::source;
    use super::{Filter, RateLimit, Secret};
    use std::time::Duration;

    fn filter(text: &str) -> Result<Filter, String> {
        source(&format!("filters: [{text}]")).map(|source| source.filters[0].clone())
    }

    #[test]
    fn filters_are_read_in_order() {
        let filters = source("filters: [keep: a, {drop: {match: b, field: c}}, {sample: {one_in: 3}}, {remove: [x]}]");
        let filters = filters.expect("valid").filters;
        assert!(matches!(&filters[0], Filter::Keep(matching) if matching.field.is_none()));
        assert!(matches!(&filters[1], Filter::Drop(matching) if matching.field.as_deref() == Some("c")));
        assert_eq!(filters[2..], [Filter::Sample(3), Filter::Remove(vec!["x".into()])]);
        let limit = RateLimit { lines: 10, per: Duration::from_secs(60) };
        assert_eq!(filter("rate_limit: {lines: 10, per: 1m}"), Ok(Filter::RateLimit(limit)));
        let secrets = filter("redact: [tokens, card-numbers, emails, 'id-\\d+']");
        assert!(matches!(secrets, Ok(Filter::Redact(all)) if all.len() == 4 && all[1] == Secret::CardNumbers));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (wrong, why) in [
            ("{}", "one of the keys keep, drop"),
            ("{keep: a, drop: b}", "only one of the keys"),
            ("sample: {one_in: 0}", "at least 1"),
            ("rate_limit: {lines: 1, per: 1ms}", "between 100ms and 1d"),
            ("redact: ['x*']", "matches nothing at all too"),
            ("keep: '['", "no valid regular expression"),
            ("rename: {}", "expected fields with texts"),
            ("add: {a: [1]}", "the field \"a\" takes a text"),
            ("dorp: a", "did you mean \"drop\"?"),
        ] {
            let message = filter(wrong).expect_err(wrong);
            assert!(message.contains(why), "{wrong}: {message}");
        }
    }

    #[test]
    fn references_stand_for_what_they_name() {
        let mut filter = filter("add: {a: 'x-${env}-${host}', b: '${other} $ {env} ${env'}").expect("valid");
        filter.resolve(|name| match name {
            "env" => Some("prod".into()),
            "host" => Some("h".into()),
            _ => None,
        });
        let Filter::Add(fields) = filter else { panic!("not add") };
        assert_eq!((fields["a"].as_str(), fields["b"].as_str()), ("x-prod-h", "${other} $ {env} ${env"));
    }
}

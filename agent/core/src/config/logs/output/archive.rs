use super::Batch;
use crate::config::Known;
use crate::config::buckets::Bucket;
use crate::config::section::Section;
use crate::config::values::{ByteSize, FromNode, Labels, mismatch};
use crate::yaml::Node;
use std::time::Duration;

/// Portions of a file's lines as objects of a bucket: JSON lines, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The bucket's name.
    pub name: String,
    /// The bucket.
    pub bucket: Bucket,
    /// What stands before an object's own name.
    pub key: Prefix,
    /// How objects are compressed.
    pub compress: Compression,
}

/// How objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// The beginning of keys, with places to be filled in. Dates are of an object's first record, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub Vec<PrefixPart>);

/// A piece of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixPart {
    /// Text as it stands.
    Literal(String),
    /// `{host}`: the host's name.
    Host,
    /// `{label:NAME}`: a label of the host.
    Label(String),
    /// `{source}`: the source's name.
    Source,
    /// A date as strftime(3) writes it: `{date}`, `{year}`, `{month}`, `{day}` or `{hour}`.
    Date(&'static str),
}

impl FromNode for Compression {
    const EXPECTED: &'static str = "gzip or zstd";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl PrefixPart {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "host" => Self::Host,
            "source" => Self::Source,
            "date" => Self::Date("%Y-%m-%d"),
            "year" => Self::Date("%Y"),
            "month" => Self::Date("%m"),
            "day" => Self::Date("%d"),
            "hour" => Self::Date("%H"),
            _ => match name.strip_prefix("label:") {
                Some(label) if !label.is_empty() => Self::Label(label.to_owned()),
                _ => {
                    return Err(format!(
                        "{{{name}}} is not known; use {{host}}, {{source}}, {{label:NAME}}, {{date}}, {{year}}, {{month}}, {{day}} or {{hour}}"
                    ));
                }
            },
        })
    }
}

impl Prefix {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, place)) = rest.split_once('{') {
            let (name, after) = place.split_once('}').ok_or_else(|| format!("{text:?} has a '{{' without its '}}'"))?;
            parts.push(PrefixPart::Literal(literal.to_owned()));
            parts.push(PrefixPart::parse(name)?);
            rest = after;
        }
        parts.push(PrefixPart::Literal(rest.to_owned()));
        if parts.iter().any(|part| matches!(part, PrefixPart::Literal(text) if text.contains('}'))) {
            return Err(format!("{text:?} has a '}}' without its '{{'"));
        }
        if text.starts_with('/') || text.contains("//") || text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(format!("{text:?} makes keys with folder names that are empty or dots"));
        }
        parts.retain(|part| *part != PrefixPart::Literal(String::new()));
        Ok(Self(parts))
    }

    fn missing_label(&self, labels: &Labels) -> Option<String> {
        let missing = self.0.iter().find_map(|part| match part {
            PrefixPart::Label(label) if labels.0.get(label).is_none_or(String::is_empty) => Some(label),
            _ => None,
        })?;
        Some(format!("{{label:{missing}}} needs a value; add it under host.labels: {{{missing}: …}}"))
    }
}

impl FromNode for Prefix {
    const EXPECTED: &'static str = "the beginning of keys such as {host}/{source}/{date}/{hour}/";

    fn from_node(node: &Node) -> Result<Self, String> {
        Self::parse(node.text().ok_or_else(|| mismatch::<Self>(node))?)
    }
}

impl Archive {
    /// With what makes an object complete.
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<(Self, Batch)> {
        let name = section.required::<String>("bucket");
        section.references("bucket", "bucket", known.bucket_names);
        let by_host = || Prefix::parse("{host}/{source}/{date}/{hour}/").ok();
        let key = section.optional::<Prefix>("key").or_else(by_host)?;
        if let Some(problem) = key.missing_label(known.labels) {
            section.problem_with("key", &problem);
        }
        let compress = section.or("compress", Compression::Gzip);
        let roll = section.section("roll", |section| Some(roll(section))).unwrap_or_else(default_roll);
        section.finish();
        let name = name?;
        let bucket = known.buckets.get(&name)?.clone();
        Some((Self { name, bucket, key, compress }, roll))
    }
}

/// One object is in memory while it grows and one while it is stored, and the agent is to stay small.
fn default_roll() -> Batch {
    Batch { bytes: ByteSize(4 << 20), lines: 200_000, age: Duration::from_secs(300) }
}

fn roll(mut section: Section<'_>) -> Batch {
    let default = default_roll();
    let bytes = section.or("bytes", default.bytes);
    if !(256 << 10..=64 << 20).contains(&bytes.0) {
        section.problem_with(
            "bytes",
            "between 256KiB and 64MiB of lines: an object is held in memory until it is complete",
        );
    }
    let age = section.or("age", default.age);
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&age) {
        section.problem_with("age", "between 1s and 1h: lines wait so long before they are stored");
    }
    section.finish();
    Batch { bytes, age, ..default }
}

#[cfg(test)]
mod tests {
    use super::super::{Output, Platform};
    use super::{Archive, Compression, Prefix, PrefixPart};
    use crate::config::Config;
    use crate::config::buckets::Bucket;
    use std::time::Duration;

    fn read(output: &str) -> Result<(Output, Archive), String> {
        let text = format!(
            "host: {{labels: {{role: b}}}}\nbuckets: {{logs: file:///srv/logs}}\nlogs:\n  outputs:\n    a: {output}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        let output = config.logs.expect("present").outputs["a"].clone();
        match output.platform.clone() {
            Platform::Archive(archive) => Ok((output, *archive)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bucket_is_enough() {
        let (output, archive) = read("{bucket: {bucket: logs}}").expect("valid");
        assert_eq!((archive.bucket, archive.compress), (Bucket::Folder("/srv/logs".into()), Compression::Gzip));
        assert_eq!((output.batch.bytes.0, output.batch.age), (4 << 20, Duration::from_secs(300)));
        let slash = || PrefixPart::Literal("/".into());
        let date = PrefixPart::Date;
        let parts = vec![
            PrefixPart::Host,
            slash(),
            PrefixPart::Source,
            slash(),
            date("%Y-%m-%d"),
            slash(),
            date("%H"),
            slash(),
        ];
        assert_eq!(archive.key, Prefix(parts));
    }

    #[test]
    fn what_makes_an_object_complete_can_be_said() {
        let (output, archive) =
            read("{bucket: {bucket: logs, key: 'x/{label:role}-', compress: zstd, roll: {bytes: 1MiB, age: 10s}}}")
                .expect("valid");
        assert_eq!((output.batch.bytes.0, output.batch.age.as_secs()), (1 << 20, 10));
        assert_eq!((archive.compress, archive.key.0.len()), (Compression::Zstd, 3));
    }

    #[test]
    fn what_would_not_work_is_refused() {
        for (wrong, complaint) in [
            ("{bucket: {bucket: lgos}}", "there is no bucket \"lgos\"; did you mean \"logs\"?"),
            ("{bucket: {bucket: logs, key: '{path}'}}", "{path} is not known"),
            ("{bucket: {bucket: logs, key: '{label:rule}/'}}", "{label:rule} needs a value"),
            ("{bucket: {bucket: logs, key: '/x'}}", "empty or dots"),
            ("{bucket: {bucket: logs, key: 'x}'}}", "without its"),
            ("{bucket: {bucket: logs, roll: {age: 2h}}}", "between 1s and 1h"),
            (
                "{batch: {bytes: 1MiB}, bucket: {bucket: logs}}",
                "a.batch: objects of a bucket are portioned by bucket.roll",
            ),
        ] {
            let message = read(wrong).expect_err("refused");
            assert!(message.contains(complaint), "{message}");
        }
    }
}

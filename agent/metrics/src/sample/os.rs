use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const INFO_LABELS: [&str; 12] = [
    "build_id",
    "id",
    "id_like",
    "image_id",
    "image_version",
    "name",
    "pretty_name",
    "variant",
    "variant_id",
    "version",
    "version_codename",
    "version_id",
];

/// os-release(5).
pub struct Os {
    candidates: [PathBuf; 2],
    info: Family,
    version: Family,
    support_end: Family,
    read: Option<Read>,
}

/// What a file said; it is read again only when it is another one.
struct Read {
    file: (u64, u64, i64, i64),
    info: Labels,
    version: Option<(Labels, f64)>,
    support_end: Option<i64>,
}

impl Os {
    pub fn new(roots: &Roots) -> Self {
        let info = format!("A metric with a constant '1' value labeled by {}.", INFO_LABELS.join(", "));
        Self {
            candidates: ["etc/os-release", "usr/lib/os-release"].map(|path| roots.rootfs.join(path)),
            info: Family::gauge("node_os_info", &info),
            version: Family::gauge("node_os_version", "Metric containing the major.minor part of the OS version."),
            support_end: Family::gauge(
                "node_os_support_end_timestamp_seconds",
                "Metric containing the end-of-life date timestamp of the OS.",
            ),
            read: None,
        }
    }

    fn refresh(&mut self) -> Result<&Read, CollectError> {
        let found = self.candidates.iter().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
        let Some((path, metadata)) = found else {
            return Err(CollectError::NoData { path: self.candidates[0].clone() });
        };
        let file = identity(&metadata);
        let read = match self.read.take() {
            Some(read) if read.file == file => read,
            _ => {
                let text = std::fs::read(path).map_err(|source| CollectError::reading(path, source))?;
                Read::new(file, &parse(&String::from_utf8_lossy(&text)))
            }
        };
        Ok(self.read.insert(read))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64, i64, i64) {
    (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

impl Read {
    fn new(file: (u64, u64, i64, i64), fields: &BTreeMap<String, String>) -> Self {
        let field = |name: &str| fields.get(&name.to_ascii_uppercase()).map_or("", String::as_str);
        let labels = |names: &[&'static str]| {
            Labels::new(&names.iter().map(|name| (*name, field(name).as_bytes())).collect::<Vec<_>>())
        };
        let version = major_minor(field("version_id")).map(|version| (labels(&["id", "id_like", "name"]), version));
        let support_end = field("support_end").parse::<jiff::civil::Date>().ok();
        let support_end = support_end.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let support_end = support_end.map(|zoned| zoned.timestamp().as_second());
        Self { file, info: labels(&INFO_LABELS), version, support_end }
    }
}

/// `KEY=value`, quoted as in a shell.
fn parse(text: &str) -> BTreeMap<String, String> {
    let assignments = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = assignments.filter_map(|line| line.split_once('='));
    let key = |key: &str| key.trim().strip_prefix("export ").unwrap_or(key.trim()).to_owned();
    pairs.map(|(name, value)| (key(name), unquote(value.trim()))).collect()
}

/// Parts in quotes of either kind may stand beside each other and beside others, and what follows a `#` outside of them
/// is a comment.
fn unquote(value: &str) -> String {
    let (mut out, mut quoted, mut quote) = (String::new(), 0, None);
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '#') => break,
            (None, '"' | '\'') => quote = Some(character),
            (Some(opening), _) if opening == character => (quote, quoted) = (None, out.len()),
            (Some('"'), '\\') => out.extend(characters.next().map(escaped)),
            _ => out.push(character),
        }
    }
    // Space before a comment is part of neither.
    let end = if quote.is_some() { out.len() } else { out.trim_end().len().max(quoted) };
    out.truncate(end);
    out
}

/// What follows a backslash in double quotes.
fn escaped(character: char) -> char {
    match character {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => other,
    }
}

/// The number that `12.04.1 LTS` begins with: 12.04.
fn major_minor(version: &str) -> Option<f64> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let major = digits(version);
    if major == 0 {
        return None;
    }
    let minor = version[major..].strip_prefix('.').map_or(0, |rest| 1 + digits(rest));
    version[..major + minor].parse().ok().filter(|number| *number > 0.0)
}

impl Collector for Os {
    fn name(&self) -> &'static str {
        "os"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.refresh()?;
        let Some(read) = &self.read else { return Ok(()) };
        scrape.out.family(&self.info).with(&read.info, true);
        if let Some((labels, version)) = &read.version {
            scrape.out.family(&self.version).with(labels, *version);
        }
        if let Some(end) = read.support_end {
            scrape.out.family(&self.support_end).put(end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Os, major_minor, parse, unquote};
    use crate::sample::testing::{captured, samples};

    #[test]
    fn the_distribution_and_its_version_are_named() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Os::new(&roots), &roots);
        assert_eq!(
            lines,
            [
                r#"node_os_info{build_id="",id="debian",id_like="",image_id="",image_version="",name="Debian GNU/Linux",pretty_name="Debian GNU/Linux 12 (bookworm)",variant="",variant_id="",version="12 (bookworm)",version_codename="bookworm",version_id="12"} 1"#,
                r#"node_os_version{id="debian",id_like="",name="Debian GNU/Linux"} 12"#,
            ]
        );
    }

    #[test]
    fn versions_and_quotes_are_read_as_the_standard_says() {
        assert_eq!(
            (major_minor("22.04.1 LTS"), major_minor("12"), major_minor("3.")),
            (Some(22.04), Some(12.0), Some(3.0))
        );
        assert_eq!(["rolling", "", "0", ".5"].map(major_minor), [None; 4]);
        assert_eq!(
            (unquote(r#""a \"b\" \\ c""#), unquote("'a \\b'"), unquote("plain")),
            (r#"a "b" \ c"#.into(), "a \\b".into(), "plain".into())
        );
        for (value, text) in [
            (r#""a"'b'"c" d"#, "abc d"),
            ("a b # c", "a b"),
            (r#""a # b " # c"#, "a # b "),
            (r#""a\nb""#, "a\nb"),
            (r"a\nb", r"a\nb"),
            ("# c", ""),
            ("''", ""),
        ] {
            assert_eq!(unquote(value), text, "{value}");
        }
        let fields = parse("export NAME=x\n ID = y # z\n#VERSION_ID=1\n");
        assert_eq!((fields["NAME"].as_str(), fields["ID"].as_str(), fields.len()), ("x", "y", 2));
    }
}

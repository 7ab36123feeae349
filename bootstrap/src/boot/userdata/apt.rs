use super::findings::{Findings, NOT_DONE};
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::collections::BTreeMap;

/// `apt:` and `apt_pipelining:`. No `Debug`: proxies and settings may hold passwords.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Apt {
    /// `preserve_sources_list:`
    pub preserve_lists: bool,
    /// `disable_suites:`
    pub disabled_suites: Vec<String>,
    /// `primary:`
    pub primary: Vec<Mirror>,
    /// `security:`
    pub security: Vec<Mirror>,
    /// `add_apt_repo_match:`
    pub repository_match: Option<String>,
    /// `debconf_selections:`, the texts in the order of their names.
    pub selections: Vec<String>,
    /// `sources_list:`
    pub list: Option<String>,
    /// `conf:`
    pub settings: Option<String>,
    /// `proxy:`, `http_proxy:`, `https_proxy:`, `ftp_proxy:`, as apt's names with a URL each.
    pub proxies: Vec<(&'static str, String)>,
    /// `sources:`, in the order of the file.
    pub sources: Vec<Source>,
    /// `apt_pipelining:`, the depth.
    pub pipelining: Option<u8>,
}

/// A mirror of the distribution.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// For which architectures; `default` for the others.
    pub arches: Vec<String>,
    /// Where it is.
    pub uri: Option<String>,
    /// Where it may be: the first whose host has an address.
    pub search: Vec<String>,
    /// Whether it is looked for by well-known names.
    pub search_dns: bool,
    /// Its key.
    pub key: Key,
}

/// A key that packages are signed with.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The key itself.
    pub text: Option<String>,
    /// Its fingerprint, by which a key server has it.
    pub id: Option<String>,
    /// The key server.
    pub server: Option<String>,
}

/// A further source of packages.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// What it is called, in the file and on disk.
    pub name: String,
    /// A line for `sources.list`, or `ppa:…`.
    pub line: Option<String>,
    /// Its key.
    pub key: Key,
    /// Its file, where it has another name.
    pub file: Option<String>,
    /// Whether the line goes to the end of the file.
    pub append: bool,
}

impl Apt {
    /// Whether the distribution's own lists are written anew.
    pub fn changes_lists(&self) -> bool {
        let said = !self.primary.is_empty() || !self.security.is_empty();
        !self.preserve_lists && (said || self.list.is_some() || !self.disabled_suites.is_empty())
    }
}

/// Reads `apt:`.
pub(super) fn apt(mut section: Section<'_>, findings: &mut Findings) -> Option<Apt> {
    let proxies = [("http", "proxy"), ("http", "http_proxy"), ("ftp", "ftp_proxy"), ("https", "https_proxy")];
    let text = |text: Option<Text>| text.map(|text| text.0).filter(|text| !text.trim().is_empty());
    let proxies = proxies.map(|(name, key)| text(section.optional(key)).map(|url| (name, url)));
    let [primary, security] = ["primary", "security"].map(|key| mirrors(&mut section, key));
    let selections: BTreeMap<String, String> = texts(&mut section, "debconf_selections");
    let apt = Apt {
        preserve_lists: section.or("preserve_sources_list", Flag(false)).0,
        disabled_suites: section.list("disable_suites").unwrap_or_default(),
        primary,
        security,
        repository_match: text(section.optional("add_apt_repo_match")),
        selections: selections.into_values().collect(),
        list: text(section.optional("sources_list")),
        settings: text(section.optional("conf")),
        proxies: proxies.into_iter().flatten().collect(),
        sources: sources(&mut section, findings),
        pipelining: None,
    };
    if let Some(pattern) = &apt.repository_match
        && let Err(error) = regex::Regex::new(pattern)
    {
        section.problem_with("add_apt_repo_match", &format!("this is no regular expression: {error}"));
    }
    if section.or("generate_mirrorlists", Flag(false)).0 {
        section.problem_with("generate_mirrorlists", &format!("{NOT_DONE}name the mirrors under primary and security"));
    }
    section.finish();
    Some(apt)
}

/// A mapping of names to texts.
fn texts(section: &mut Section<'_>, key: &'static str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for entry in section.node(key).and_then(Node::mapping).map(|mapping| &mapping.entries[..]).unwrap_or_default() {
        match entry.value.text() {
            Some(text) => drop(texts.insert(entry.key.clone(), text.to_owned())),
            None => section.problem_at(entry.value.place, key, "expected a string"),
        }
    }
    texts
}

fn mirrors(section: &mut Section<'_>, key: &'static str) -> Vec<Mirror> {
    let Some(node) = section.node(key) else { return Vec::new() };
    let items = section.items(key, node).unwrap_or_default();
    items.iter().filter_map(|item| section.item(key, item).map(mirror)).collect()
}

fn mirror(mut section: Section<'_>) -> Mirror {
    let mirror = Mirror {
        arches: section.list("arches").unwrap_or_default(),
        uri: section.optional("uri"),
        search: section.list("search").unwrap_or_default(),
        search_dns: section.or("search_dns", Flag(false)).0,
        key: Key::read(&mut section),
    };
    if mirror.arches.is_empty() {
        section.problem(section.place(), "the key \"arches\" is missing; it takes a list such as [default]");
    }
    section.finish();
    mirror
}

impl Key {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            text: section.optional::<Text>("key").map(|text| text.0).filter(|text| !text.trim().is_empty()),
            id: section.optional::<Text>("keyid").map(|text| text.0).filter(|text| !text.trim().is_empty()),
            server: section.optional("keyserver"),
        }
    }

    /// Whether there is one.
    pub fn is_given(&self) -> bool {
        self.text.is_some() || self.id.is_some()
    }
}

fn sources(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Source> {
    let Some(node) = section.node("sources") else { return Vec::new() };
    let Some(mapping) = node.mapping() else {
        section.problem_with("sources", &format!("expected a mapping of names to sources, found {}", node.kind()));
        return Vec::new();
    };
    let read = |entry: &hostwright_core::yaml::Entry| {
        findings.whole(&entry.value, &format!("apt.sources.{}", entry.key), |section, _| source(section, &entry.key))
    };
    mapping.entries.iter().filter_map(read).collect()
}

pub(super) fn source(mut section: Section<'_>, name: &str) -> Option<Source> {
    let source = Source {
        name: name.to_owned(),
        line: section.optional::<Text>("source").map(|text| text.0).filter(|text| !text.trim().is_empty()),
        key: Key::read(&mut section),
        file: section.optional("filename"),
        append: section.or("append", Flag(true)).0,
    };
    section.finish();
    Some(source)
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn every_key_of_apt_is_read() {
        let user_data = read(
            b"#cloud-config\napt_pipelining: false\napt:\n  preserve_sources_list: false\n  disable_suites: [$RELEASE-updates, backports]\n  primary: [{arches: [amd64, i386], uri: 'http://a/'}, {arches: [default], search: ['http://b/'], search_dns: true, keyid: ABCD, keyserver: k}]\n  security: [{arches: [default], uri: 'http://s/'}]\n  add_apt_repo_match: '^x'\n  debconf_selections: {b: 'p q string 2', a: 'p q string 1'}\n  sources_list: 'deb $MIRROR $RELEASE main'\n  conf: 'APT { }'\n  proxy: http://p:1\n  https_proxy: http://p:2\n  sources:\n    my repo.list: {source: 'deb [signed-by=$KEY_FILE] http://x $RELEASE main', key: '-----BEGIN PGP', filename: f, append: false}\n    ppa: {source: 'ppa:a/b'}\n    key-only: {keyid: EF}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        assert!(user_data.findings.ignored.is_empty(), "{:?}", user_data.findings.ignored);
        let apt = user_data.config.apt.expect("apt");
        assert_eq!((apt.pipelining, apt.primary.len(), apt.security.len(), apt.sources.len()), (Some(0), 2, 1, 3));
        assert_eq!(apt.selections, ["p q string 1", "p q string 2"]);
        assert!(!apt.sources[0].append && apt.sources[2].key.is_given() && apt.changes_lists());
        assert_eq!(apt.proxies.len(), 2);
    }

    #[test]
    fn wrong_values_are_told() {
        let user_data = read(
            b"#cloud-config\napt: {primary: [{uri: x}], sources: [a], add_apt_repo_match: '('}\napt_pipelining: fast\n",
        );
        assert_eq!(user_data.findings.errors.len(), 3, "{:?}", user_data.findings.errors);
        assert_eq!(user_data.findings.ignored.len(), 1);
    }
}

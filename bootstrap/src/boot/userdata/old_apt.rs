use super::Findings;
use super::apt::{Apt, Mirror, Source, source};
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;

/// The key of today, and after it every one from before it.
pub const KEYS: [&str; 11] = [
    "apt",
    "apt_sources",
    "apt_mirror",
    "apt_mirror_search",
    "apt_mirror_search_dns",
    "apt_proxy",
    "apt_http_proxy",
    "apt_ftp_proxy",
    "apt_https_proxy",
    "apt_preserve_sources_list",
    "apt_custom_sources_list",
];

/// Where entries without a name of a file go, all of them.
const FILE: &str = "cloud_config_sources.list";

/// Reads what stands at the top level in user-data from before there was `apt:`. Beside `apt:` it counts for nothing.
pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Apt> {
    let is_new = root.node("apt").is_some();
    let old = KEYS.into_iter().skip(1);
    let mut said = old.filter_map(|key| Some((key, root.node(key)?.place))).collect::<Vec<_>>();
    for (key, place) in &said {
        let message = if is_new { "counts for nothing beside apt:" } else { "is old: say it below apt:" };
        findings.warning(*place, key, message.to_owned());
    }
    said.retain(|_| !is_new);
    said.first()?;
    let text =
        |root: &mut Section<'_>, key| root.optional::<Text>(key).map(|text| text.0).filter(|text| !text.is_empty());
    let proxies =
        [("http", "apt_proxy"), ("http", "apt_http_proxy"), ("ftp", "apt_ftp_proxy"), ("https", "apt_https_proxy")];
    let proxies = proxies.map(|(name, key)| text(root, key).map(|url| (name, url)));
    let mirror = Mirror {
        arches: vec!["default".to_owned()],
        uri: text(root, "apt_mirror"),
        search: root.list("apt_mirror_search").unwrap_or_default(),
        search_dns: root.or("apt_mirror_search_dns", Flag(false)).0,
        ..Mirror::default()
    };
    let has_mirror = mirror.uri.is_some() || !mirror.search.is_empty() || mirror.search_dns;
    Some(Apt {
        preserve_lists: root.or("apt_preserve_sources_list", Flag(false)).0,
        primary: has_mirror.then_some(mirror).into_iter().collect(),
        list: text(root, "apt_custom_sources_list"),
        proxies: proxies.into_iter().flatten().collect(),
        sources: root.node("apt_sources").map_or_else(Vec::new, |node| sources(node, findings)),
        ..Apt::default()
    })
}

/// A list of sources, or a mapping of names to sources as below `apt:`.
fn sources(node: &Node, findings: &mut Findings) -> Vec<Source> {
    let mut one = |node: &Node, name: &str| findings.whole(node, "apt_sources", |section, _| source(section, name));
    if let Some(mapping) = node.mapping() {
        return mapping.entries.iter().filter_map(|entry| one(&entry.value, &entry.key)).collect();
    }
    match node.sequence() {
        Some(items) => items.iter().filter_map(|item| one(item, FILE)).collect(),
        None => {
            findings.error(node.place, "apt_sources", format!("expected a list of sources, found {}", node.kind()));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn old_keys_are_read_where_there_is_no_new_one() {
        let old = "apt_sources:\n- {source: 'deb http://x ./', filename: x.list}\n- {source: 'ppa:a/b', keyid: AB}\napt_proxy: http://p\napt_mirror: http://m\napt_preserve_sources_list: true\n";
        let user_data = read(format!("#cloud-config\n{old}").as_bytes());
        assert!(user_data.findings.errors.is_empty() && user_data.findings.ignored.is_empty());
        assert_eq!(user_data.findings.warnings.len(), 4, "{:?}", user_data.findings.warnings);
        let apt = user_data.config.apt.expect("apt");
        assert_eq!((apt.sources.len(), apt.primary.len(), apt.proxies.len()), (2, 1, 1));
        assert_eq!(apt.sources[0].file.as_deref(), Some("x.list"));
        assert!(apt.preserve_lists && apt.sources[1].name == "cloud_config_sources.list");
        let both = read(format!("#cloud-config\n{old}apt: {{conf: x}}\n").as_bytes()).config.apt.expect("apt");
        assert!(both.sources.is_empty() && both.settings.is_some());
    }
}

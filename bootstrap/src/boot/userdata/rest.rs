use super::combine::{Combined, combine, empty};
use super::merge::Merging;
use super::parts::{Fetch, Include, NotFetched, collect, type_by_start};
use super::{Sources, unpack};
use crate::boot::web::shown;
use hostwright_core::yaml::{self, Duplicates, Entry, Mapping, Node, Value};

/// The keys of `hostwright:` that are about the rest and not the agent's.
pub const KEYS: [&str; 3] = ["from", "sha256", "signed_by"];

/// Brings what `hostwright: {from: …}` names: the rest of a user-data that is too large for the cloud, or the rest of
/// the section. What stands in the user-data itself counts before it.
pub fn add(whole: &mut Combined, sources: &Sources<'_>, fetch: &mut dyn Fetch) {
    let Some(section) = whole.document.get("hostwright").cloned() else { return };
    let Some(from) = section.get("from").filter(|node| !node.is_null()) else { return };
    let place = from.place;
    let named = include(&section);
    let fetched = named.map_err(NotFetched::Never).and_then(|include| {
        fetch.buckets(&section);
        fetch.fetch(&include)
    });
    match fetched {
        Ok(content) => take_in(whole, &content, sources, fetch),
        Err(NotFetched::Later) => whole.waiting.push(from.text().unwrap_or_default().to_owned()),
        Err(NotFetched::Never(why)) => {
            let url = shown(from.text().unwrap_or_default());
            whole.findings.error(place, "hostwright.from", format!("cannot take the rest from {url}: {why}"));
        }
    }
    remove_keys(&mut whole.document);
}

fn include(section: &Node) -> Result<Include, String> {
    let text = |key: &str| section.get(key).filter(|node| !node.is_null()).map(|node| node.text().unwrap_or_default());
    let url = text("from").unwrap_or_default().to_owned();
    let (sha256, signed_by) = (text("sha256"), text("signed_by"));
    if sha256.is_none() && signed_by.is_none() {
        return Err("say by sha256 or signed_by (a minisign key) what it must be".to_owned());
    }
    if let Some(digest) = sha256.filter(|digest| digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(format!("sha256 takes 64 hexadecimal digits as sha256sum prints them, found {digest:?}"));
    }
    Ok(Include { url, sha256: sha256.map(str::to_ascii_lowercase), signed_by: signed_by.map(str::to_owned) })
}

fn take_in(whole: &mut Combined, content: &[u8], sources: &Sources<'_>, fetch: &mut dyn Fetch) {
    let mut rest = match section_of(content) {
        Some(document) => document,
        None => {
            let combined = combine(&collect(content, fetch), sources);
            whole.take_scripts(combined.scripts, combined.boothooks);
            whole.waiting.extend(combined.waiting);
            let mut findings = combined.findings;
            findings.each(|problem| problem.message.push_str(" (in the rest, from hostwright.from)"));
            whole.findings.append(findings);
            combined.document
        }
    };
    remove_keys(&mut rest);
    let before = std::mem::replace(&mut whole.document, empty());
    whole.document = Merging::between_sources().merge(before.clone(), rest).unwrap_or(before);
    whole.scripts.sort_by(|one, other| one.rank().cmp(&other.rank()));
}

/// A file without a format's first line is the section itself.
fn section_of(content: &[u8]) -> Option<Node> {
    let (text, _) = unpack::unpack(content).ok()?;
    if type_by_start(&text).is_some() || unpack::is_mime(&text) {
        return None;
    }
    let root = yaml::load(&text, Duplicates::LastWins).ok()?.root;
    root.mapping()?;
    let entry = Entry { key: "hostwright".to_owned(), place: root.place, value: root };
    Some(Node { place: entry.place, tag: None, value: Value::Mapping(Mapping { entries: vec![entry] }) })
}

fn remove_keys(document: &mut Node) {
    let Value::Mapping(mapping) = &mut document.value else { return };
    let section = mapping.entries.iter_mut().find(|entry| entry.key == "hostwright");
    if let Some(Value::Mapping(section)) = section.map(|entry| &mut entry.value.value) {
        section.entries.retain(|entry| !KEYS.contains(&entry.key.as_str()));
    }
}

use super::Findings;
use super::values::{AccountName, NameList};
use hostwright_core::config::values::FromNode as _;
use hostwright_core::yaml::{Entry, Node};
use serde::Serialize;

/// One of `groups:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Users that shall belong to it.
    pub members: Vec<String>,
}

/// Reads `groups:`: a list of names or of `name: [members]`, a mapping of the latter, or names with commas.
pub fn read(node: &Node, findings: &mut Findings) -> Vec<Group> {
    let mut groups = Vec::new();
    if let Some(mapping) = node.mapping() {
        groups.extend(mapping.entries.iter().filter_map(|entry| with_members(entry, findings)));
        return groups;
    }
    for item in node.sequence().unwrap_or(std::slice::from_ref(node)) {
        match item.mapping() {
            Some(mapping) => {
                groups.extend(mapping.entries.iter().filter_map(|entry| with_members(entry, findings)));
            }
            None => match NameList::from_node(item) {
                Ok(names) => groups.extend(names.0.into_iter().map(|name| Group { name, members: Vec::new() })),
                Err(message) => findings.error(item.place, "groups", message),
            },
        }
    }
    groups
}

fn with_members(entry: &Entry, findings: &mut Findings) -> Option<Group> {
    let key = Node {
        place: entry.place,
        tag: None,
        value: hostwright_core::yaml::Value::Scalar { text: entry.key.clone(), plain: false },
    };
    let members = if entry.value.is_null() { Ok(NameList(Vec::new())) } else { NameList::from_node(&entry.value) };
    match (AccountName::from_node(&key), members) {
        (Ok(name), Ok(members)) => Some(Group { name: name.0, members: members.0 }),
        (Err(message), _) => {
            findings.error(entry.place, "groups", message);
            None
        }
        (_, Err(message)) => {
            findings.error(entry.value.place, &format!("groups.{}", entry.key), message);
            None
        }
    }
}

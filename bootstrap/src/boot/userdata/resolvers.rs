use super::Findings;
use super::values::Flag;
use hostwright_core::config::section::Section;
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;

/// `resolv_conf:` where `manage_resolv_conf:` is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resolvers {
    /// `nameservers:`
    pub servers: Vec<String>,
    /// `searchdomains:`
    pub search: Vec<String>,
    /// `domain:`
    pub domain: Option<String>,
    /// `sortlist:`
    pub sortlist: Vec<String>,
    /// `options:`, as they stand in the file.
    pub options: Vec<String>,
}

impl Resolvers {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        let managed = root.or("manage_resolv_conf", Flag(false)).0;
        let node = root.node("resolv_conf");
        let resolvers = node.and_then(|node| findings.whole(node, "resolv_conf", |section, _| resolvers(section)));
        if let Some(node) = node.filter(|_| !managed) {
            let message = "it counts only beside manage_resolv_conf: true".to_owned();
            findings.warning(node.place, "resolv_conf", message);
        }
        resolvers.filter(|_| managed)
    }
}

fn resolvers(mut section: Section<'_>) -> Option<Resolvers> {
    let mut options = Vec::new();
    for entry in section.node("options").and_then(Node::mapping).map(|mapping| &mapping.entries[..]).unwrap_or_default()
    {
        match (entry.value.scalar(), entry.value.text()) {
            (Some(Scalar::Bool(true)), _) => options.push(entry.key.clone()),
            (Some(Scalar::Bool(false)), _) => {}
            (Some(_), Some(text)) => options.push(format!("{}:{text}", entry.key)),
            _ => section.problem_at(entry.value.place, "options", "expected a value, or true"),
        }
    }
    let resolvers = Resolvers {
        servers: section.list("nameservers").unwrap_or_default(),
        search: section.list("searchdomains").unwrap_or_default(),
        domain: section.optional("domain"),
        sortlist: section.list("sortlist").unwrap_or_default(),
        options,
    };
    section.finish();
    Some(resolvers)
}

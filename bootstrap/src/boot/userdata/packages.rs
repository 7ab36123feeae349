use super::Findings;
use super::values::Flag;
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;
use serde::Serialize;

/// `packages:`, `package_update:`, `package_upgrade:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packages {
    /// What shall be installed.
    pub install: Vec<Package>,
    /// Whether the lists of packages are fetched anew.
    pub update: bool,
    /// Whether everything installed is brought up to date.
    pub upgrade: bool,
}

/// A package to install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its name, or the path of a package file.
    pub name: String,
    /// The one version that is wanted.
    pub version: Option<String>,
}

impl Packages {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let nodes = root.node("packages").map(|node| node.sequence().unwrap_or(std::slice::from_ref(node)));
        Self {
            install: nodes.unwrap_or_default().iter().filter_map(|node| package(node, findings)).collect(),
            update: root.or("package_update", Flag(false)).0,
            upgrade: root.or("package_upgrade", Flag(false)).0,
        }
    }
}

/// `name`, `name=version` or `[name, version]`.
fn package(node: &Node, findings: &mut Findings) -> Option<Package> {
    let texts: Option<Vec<&str>> = match (node.sequence(), node.text()) {
        (Some(items), _) => items.iter().map(Node::text).collect(),
        (None, Some(text)) => Some(text.splitn(2, '=').collect()),
        (None, None) => {
            findings.error(
                node.place,
                "packages",
                "expected a package's name or [name, version]; lists for each package manager are not done yet".into(),
            );
            return None;
        }
    };
    let package = match texts.as_deref() {
        Some([name]) => Package { name: (*name).to_owned(), version: None },
        Some([name, version]) => Package { name: (*name).to_owned(), version: Some((*version).to_owned()) },
        _ => {
            findings.error(node.place, "packages", "expected a package's name or [name, version]".into());
            return None;
        }
    };
    // What begins otherwise would be an option of apt-get.
    let name_fits = package.name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let no_space = !package.name.contains(char::is_whitespace);
    if !name_fits || !no_space || package.version.as_ref().is_some_and(|version| version.contains(char::is_whitespace))
    {
        findings.error(node.place, "packages", format!("{:?} cannot be a package's name", package.name));
        return None;
    }
    Some(package)
}

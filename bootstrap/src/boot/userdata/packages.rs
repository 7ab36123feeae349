use super::Findings;
use super::findings::says_nothing;
use super::values::Flag;
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;
use serde::Serialize;

/// `packages:`, `package_update:`, `package_upgrade:`, `package_reboot_if_required:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packages {
    /// What shall be installed.
    pub install: Vec<Package>,
    /// Whether the lists of packages are fetched anew.
    pub update: bool,
    /// Whether everything installed is brought up to date.
    pub upgrade: bool,
    /// Whether the host is rebooted where what was installed wants that.
    pub reboot: bool,
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
        let mut flag = |newer, older| [newer, older].map(|key| root.or(key, Flag(false)).0).contains(&true);
        Self {
            install: nodes.unwrap_or_default().iter().flat_map(|node| packages(node, findings)).collect(),
            update: flag("package_update", "apt_update"),
            upgrade: flag("package_upgrade", "apt_upgrade"),
            reboot: flag("package_reboot_if_required", "apt_reboot_if_required"),
        }
    }
}

/// A package, or a mapping of a package manager to packages.
fn packages(node: &Node, findings: &mut Findings) -> Vec<Package> {
    let Some(mapping) = node.mapping() else { return package(node, findings).into_iter().collect() };
    let mut found = Vec::new();
    for entry in &mapping.entries {
        match entry.key.as_str() {
            "apt" => {
                let items = entry.value.sequence().unwrap_or(std::slice::from_ref(&entry.value));
                found.extend(items.iter().filter_map(|item| package(item, findings)));
            }
            "snap" if says_nothing(&entry.value) => {}
            "snap" => {
                findings.not_done(
                    entry.place,
                    "packages.snap",
                    "snaps are not supported: use runcmd: [snap install …]",
                );
            }
            other => {
                let message =
                    format!("unknown key; packages are given for apt or for whatever the host has, not for {other:?}");
                findings.ignored.push(hostwright_core::config::section::Problem {
                    place: entry.place,
                    path: "packages".to_owned(),
                    message,
                });
            }
        }
    }
    found
}

/// `name`, `name=version` or `[name, version]`.
fn package(node: &Node, findings: &mut Findings) -> Option<Package> {
    let texts: Option<Vec<&str>> = match (node.sequence(), node.text()) {
        (Some(items), _) => items.iter().map(Node::text).collect(),
        (None, Some(text)) => Some(text.splitn(2, '=').collect()),
        (None, None) => None,
    };
    let package = match texts.as_deref() {
        Some([name]) => Package { name: (*name).to_owned(), version: None },
        Some([name, version]) => Package { name: (*name).to_owned(), version: Some((*version).to_owned()) },
        _ => {
            findings.error(node.place, "packages", "expected a package's name or [name, version]".into());
            return None;
        }
    };
    // What begins otherwise would be an option of the package manager.
    let name_fits = package.name.starts_with(|c: char| c.is_ascii_alphanumeric() || "/@".contains(c));
    let no_space = !package.name.contains(char::is_whitespace) || package.name.starts_with('@');
    if !name_fits || !no_space || package.version.as_ref().is_some_and(|version| version.contains(char::is_whitespace))
    {
        findings.error(node.place, "packages", format!("{:?} cannot be a package's name", package.name));
        return None;
    }
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn packages_come_as_names_versions_and_for_a_manager() {
        let user_data = read(
            b"#cloud-config\npackages:\n- jq\n- [vim, 9.0]\n- curl=8\n- apt: [tree, [nano, 7]]\n- snap: [core]\n- brew: [x]\napt_update: true\npackage_reboot_if_required: yes\n",
        );
        let packages = user_data.config.packages;
        let told: Vec<_> =
            packages.install.iter().map(|p| format!("{} {}", p.name, p.version.as_deref().unwrap_or("-"))).collect();
        assert_eq!(told, ["jq -", "vim 9.0", "curl 8", "tree -", "nano 7"]);
        assert!(packages.update && packages.reboot && !packages.upgrade);
        assert_eq!(user_data.findings.ignored.len(), 4, "{:?}", user_data.findings.ignored);
    }
}

use super::Findings;
use hostwright_core::config::section::Section;
use hostwright_core::config::values::AbsolutePath;
use hostwright_core::yaml::{Entry, Node, Scalar};
use serde::Serialize;
use std::path::PathBuf;

/// `yum_repos:` and `yum_repo_dir:`. No `Debug`: settings may hold passwords.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Yum {
    /// Where the files go.
    pub folder: PathBuf,
    /// A repository each.
    pub repositories: Vec<Repository>,
}

/// A file of a repository.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// Its id, without spaces.
    pub id: String,
    /// Its settings, as they stand in the file.
    pub settings: Vec<(String, String)>,
}

impl Yum {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        let folder = root.or("yum_repo_dir", AbsolutePath("/etc/yum.repos.d".into())).0;
        let node = root.node("yum_repos")?;
        let Some(mapping) = node.mapping() else {
            findings.error(
                node.place,
                "yum_repos",
                format!("expected a mapping of repositories, found {}", node.kind()),
            );
            return None;
        };
        let mut repositories: Vec<Repository> = Vec::new();
        for entry in &mapping.entries {
            let Some(repository) = repository(entry, findings) else { continue };
            // The first of a name counts, as the file of one that was there before would.
            if repositories.iter().any(|other| other.id == repository.id) {
                let message = format!("another repository is called {} already: this one is left out", repository.id);
                findings.error(entry.place, &format!("yum_repos.{}", entry.key), message);
            } else {
                repositories.push(repository);
            }
        }
        Some(Self { folder, repositories })
    }
}

fn repository(entry: &Entry, findings: &mut Findings) -> Option<Repository> {
    let path = format!("yum_repos.{}", entry.key);
    let Some(mapping) = entry.value.mapping() else {
        findings.error(
            entry.value.place,
            &path,
            format!("expected a mapping of settings, found {}", entry.value.kind()),
        );
        return None;
    };
    let id = entry.key.replace(' ', "-");
    if id.contains(['/', '\n']) || id.starts_with('.') {
        findings.error(entry.place, &path, "this cannot be the name of a file".to_owned());
        return None;
    }
    let mut settings: Vec<(String, String)> = Vec::new();
    for setting in &mapping.entries {
        let key = setting.key.trim().to_ascii_lowercase().replace('-', "_");
        match value(&setting.value) {
            // The last spelling of a key counts.
            Some(value) if !key.is_empty() => match settings.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => settings.push((key, value)),
            },
            _ => findings.error(setting.value.place, &path, format!("expected a value or a list of values for {key}")),
        }
    }
    if !settings.iter().any(|(key, _)| ["baseurl", "metalink", "mirrorlist"].contains(&key.as_str())) {
        findings.error(entry.place, &path, "one of the keys baseurl, metalink, mirrorlist is needed".to_owned());
        return None;
    }
    Some(Repository { id, settings })
}

/// Booleans are 1 and 0; a list goes over several lines.
fn value(node: &Node) -> Option<String> {
    match (node.scalar(), node.sequence()) {
        (Some(Scalar::Bool(value)), _) => Some(u8::from(value).to_string()),
        (Some(Scalar::Int(number)), _) => Some(number.to_string()),
        // A line that begins with a space goes on with the one before; an empty one would end it.
        (Some(_), _) => node
            .text()
            .map(|text| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n ")),
        (None, Some(items)) => items.iter().map(value).collect::<Option<Vec<_>>>().map(|items| items.join("\n ")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn repositories_need_a_place_and_keep_their_settings() {
        let user_data = read(
            b"#cloud-config\nyum_repo_dir: /etc/y\nyum_repos:\n  my repo: {baseurl: 'http://x/', enabled: false, FailoverMethod: priority, gpgkey: [a, b], Priority: 7, priority: 010, exclude: \"x*\\n  y\\n\\n\"}\n  bad: {name: x}\n  my-repo: {baseurl: z}\n",
        );
        let yum = user_data.config.yum.expect("yum");
        assert_eq!(
            (yum.repositories.len(), user_data.findings.errors.len()),
            (1, 2),
            "{:?}",
            user_data.findings.errors
        );
        let repository = &yum.repositories[0];
        let told: Vec<_> = repository.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(repository.id, "my-repo");
        assert_eq!(
            told,
            [
                "baseurl=http://x/",
                "enabled=0",
                "failovermethod=priority",
                "gpgkey=a\n b",
                "priority=8",
                "exclude=x*\n y"
            ]
        );
    }
}

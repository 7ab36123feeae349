use globset::{Glob, GlobMatcher};
use std::path::{Path, PathBuf};

/// The patterns of a source that are about files in one folder.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    names: Vec<Name>,
}

#[derive(Debug)]
enum Name {
    Literal(String),
    Glob(GlobMatcher),
}

impl Folder {
    /// Whether a file of this name is asked for.
    pub fn matches(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| match pattern {
            Name::Literal(literal) => literal == name,
            Name::Glob(glob) => glob.is_match(name),
        })
    }

    /// Whether a file of this name is asked for by this very name: then it is never a rotated one.
    pub fn names_literally(&self, name: &str) -> bool {
        self.names.iter().any(|pattern| matches!(pattern, Name::Literal(literal) if literal == name))
    }
}

/// Groups absolute patterns, which have no pattern in their folders, by folder.
pub fn by_folder(patterns: &[String]) -> Result<Vec<Folder>, globset::Error> {
    let mut folders: Vec<Folder> = Vec::new();
    for pattern in patterns {
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let path = Path::new(if folder.is_empty() { "/" } else { folder });
        let name = if name.contains(['*', '?', '[']) {
            Name::Glob(Glob::new(name)?.compile_matcher())
        } else {
            Name::Literal(name.to_owned())
        };
        match folders.iter_mut().find(|folder| folder.path == path) {
            Some(folder) => folder.names.push(name),
            None => folders.push(Folder { path: path.to_owned(), names: vec![name] }),
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::by_folder;

    #[test]
    fn patterns_share_a_folder_and_match_names_in_it() {
        let files = ["/var/log/a/log.json", "/var/log/a/*.[0-9]", "/x.log"].map(str::to_owned);
        let folders = by_folder(&files).expect("valid");
        assert_eq!(folders.len(), 2);
        let a = &folders[0];
        assert!(a.matches("log.json") && a.names_literally("log.json"));
        assert!(a.matches("log.json.1") && !a.names_literally("log.json.1"));
        assert!(!a.matches("log.json.2026-11-20") && !a.matches("x.log"));
        assert_eq!(folders[1].path.to_str(), Some("/"));
    }
}

use globset::GlobBuilder;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Where text files are: folders, and patterns of folders.
pub struct Directories(Vec<PathBuf>);

impl Directories {
    /// As they are configured; an empty one is none.
    pub fn new(configured: &[PathBuf]) -> Self {
        let given = configured.iter().filter(|path| !path.as_os_str().is_empty());
        Self(given.map(|path| clean(path)).collect())
    }

    /// Calls `each` with every `*.prom` of every folder in the order of the names, and `refused` with the folders that
    /// cannot be read.
    pub fn list(&self, mut each: impl FnMut(PathBuf), mut refused: impl FnMut(&Path, &io::Error)) {
        for pattern in &self.0 {
            let mut folders = expand(pattern);
            if folders.is_empty() {
                // It may be meant as it stands; if not, its error tells that there is none.
                folders.push(pattern.clone());
            }
            for folder in folders {
                match text_files(&folder) {
                    Ok(paths) => paths.into_iter().for_each(&mut each),
                    Err(error) => refused(&folder, &error),
                }
            }
        }
    }
}

fn text_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.as_bytes().ends_with(b".prom") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// `/a//b/../c/` → `/a/c`.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::CurDir => {}
            component => cleaned.push(component),
        }
    }
    cleaned
}

/// The paths that match, in the order of the names. A part of a pattern matches a name: `*`, `?`, `[a-z]`.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str();
        if !part.as_bytes().iter().any(|byte| b"*?[\\".contains(byte)) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        found = found.iter().flat_map(|folder| matching(folder, part)).collect();
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found
}

fn matching(folder: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    // Braces have a meaning for the crate alone.
    let pattern = pattern.to_string_lossy().replace('{', "\\{").replace('}', "\\}");
    let glob = GlobBuilder::new(&pattern).literal_separator(true).backslash_escape(true).build();
    let (Ok(glob), Ok(entries)) = (glob, fs::read_dir(folder)) else { return Vec::new() };
    let glob = glob.compile_matcher();
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.retain(|name| glob.is_match(name));
    names.sort_unstable();
    names.into_iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::Directories;
    use std::fs;

    #[test]
    fn folders_and_patterns_of_folders_are_listed_by_name_and_what_cannot_be_read_is_told() {
        let root = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| root.path().join(name);
        for name in ["b/1.prom", "a/2.prom", "a/1.prom", "a/x.prom.tmp", "a/y.txt", "c{x}/.prom", "ü/z.prom"] {
            fs::create_dir_all(path(name).parent().expect("folder")).expect("folder");
            fs::write(path(name), "").expect("written");
        }
        let list = |patterns: &[&str]| {
            let (mut found, mut refused) = (Vec::new(), Vec::new());
            let name = |path: &std::path::Path| path.strip_prefix(root.path()).expect("below").display().to_string();
            Directories::new(&patterns.iter().map(|pattern| path(pattern)).collect::<Vec<_>>())
                .list(|path| found.push(name(&path)), |path, _| refused.push(name(path)));
            (found.join(" "), refused.join(" "))
        };
        assert_eq!(list(&["b//", "a/../a/"]), ("b/1.prom a/1.prom a/2.prom".into(), String::new()));
        assert_eq!(list(&["[a-b]"]), ("a/1.prom a/2.prom b/1.prom".into(), String::new()));
        assert_eq!(list(&["c{?}", "[^a-c]*"]), ("c{x}/.prom ü/z.prom".into(), String::new()));
        assert_eq!(list(&["c{x}"]), ("c{x}/.prom".into(), String::new()));
        assert_eq!(list(&["nothing*", "none", "[a"]), (String::new(), "nothing* none [a".into()));
        assert_eq!(list(&["*/1.prom"]), (String::new(), "a/1.prom b/1.prom".into()), "files are no folders");
        let mut none = 0;
        Directories::new(&["".into()]).list(|_| none += 1, |_, _| ());
        assert_eq!(none, 0);
    }
}

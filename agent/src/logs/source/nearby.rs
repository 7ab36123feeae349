use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// So many folders are looked into, those that changed last ...
pub const MOST: usize = 200;
/// ... of so many, the nearest first.
const MOST_LISTED: usize = 2000;
/// `archive/app/2026/11/22/10`.
const DEPTH: usize = 6;

/// The folders into which the files of a folder may be rotated: those in it, at any depth, and those beside it with what is of
/// days or of the same name in them.
pub fn near(folder: &Path) -> Vec<PathBuf> {
    let beside = folder.parent().filter(|parent| parent.parent().is_some());
    let mut found = within(folder, |_| true);
    let is_meant = |inside: &Path| is_of_days(inside) || inside.file_name() == folder.file_name();
    found.extend(beside.into_iter().flat_map(|parent| within(parent, is_meant)));
    found.retain(|(_, near)| near != folder);
    found.sort();
    found.dedup();
    found.reverse();
    found.into_iter().map(|(_, path)| path).take(MOST).collect()
}

/// A folder's path without what tells a day: where a rotator makes a folder for each, they are alike but for that.
pub fn kind(folder: &Path) -> PathBuf {
    let is_kept = |path: &&Path| !is_of_days(path);
    folder
        .ancestors()
        .map(|path| if is_kept(&path) { path.file_name().unwrap_or_default() } else { "0".as_ref() })
        .collect()
}

fn is_of_days(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    name.contains(|c: char| c.is_ascii_digit()) && name.chars().all(is_part)
}

/// The folders in a folder, all of them, and those in these that are meant, with when they changed.
fn within(folder: &Path, is_meant: impl Fn(&Path) -> bool) -> Vec<(SystemTime, PathBuf)> {
    let mut all = Vec::new();
    let mut level = folders_in(folder);
    for depth in 1.. {
        // Where there are too many, the oldest are left out.
        level.sort();
        level.reverse();
        level.truncate(MOST_LISTED.saturating_sub(all.len()));
        let inside = level.iter().flat_map(|(_, path)| folders_in(path)).filter(|(_, path)| is_meant(path));
        let next = if depth < DEPTH { inside.take(MOST_LISTED).collect() } else { Vec::new() };
        all.append(&mut level);
        if next.is_empty() {
            break;
        }
        level = next;
    }
    all
}

fn folders_in(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = folder.read_dir().into_iter().flatten().filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let changed = folders.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())));
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::{kind, near};
    use std::fs;
    use std::path::Path;

    #[test]
    fn folders_of_days_are_near_at_any_depth_and_other_programs_inner_folders_are_not() {
        let above = tempfile::tempdir().expect("temporary folder");
        let at = |path: &str| above.path().join("log").join(path);
        for path in ["app/old/deep", "archive/2026/11/22", "archive/app/20261122", "other/cache/inner"] {
            fs::create_dir_all(at(path)).expect("made");
        }
        let near = near(&at("app"));
        for path in ["app/old/deep", "archive", "archive/2026/11/22", "archive/app/20261122", "other"] {
            assert!(near.contains(&at(path)), "{path}");
        }
        for path in ["app", "other/cache", "other/cache/inner"] {
            assert!(!near.contains(&at(path)), "{path}");
        }
    }

    #[test]
    fn folders_that_differ_in_their_day_are_of_one_kind() {
        let of = |path: &str| kind(Path::new(path));
        assert_eq!(of("/l/archive/2026/11/22"), of("/l/archive/2027/01/01"));
        assert_eq!(of("/l/2026-11-22"), of("/l/2026-11-23"));
        assert_ne!(of("/l/web1"), of("/l/web2"));
        assert_ne!(of("/l/a/22"), of("/l/b/22"));
    }
}

use std::fs;
use std::path::{Path, PathBuf};

/// Where the control groups of a process are (cgroups(7)).
#[derive(Debug, PartialEq, Eq)]
pub struct Groups {
    /// The path of its group, as cAdvisor tells it.
    pub id: String,
    pub place: Place,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Version 1: for each controller, its folder.
    Each(Vec<(String, PathBuf)>),
    /// Version 2: one folder.
    Unified(PathBuf),
}

impl Groups {
    /// Those of a container's process: none if it is gone, or another process has its number.
    pub fn of(process: u32, container: &str, (procfs, sysfs): (&Path, &Path)) -> Option<Self> {
        let text = fs::read_to_string(procfs.join(process.to_string()).join("cgroup")).ok()?;
        let root = sysfs.join("fs/cgroup");
        let mut each = Vec::new();
        let mut unified = None;
        // `4:memory:/docker/ID`, `0::/system.slice/docker-ID.scope`
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let Some(path) = up_to(path, container) else { continue };
            if controllers.is_empty() {
                unified = Some(path.to_owned());
                continue;
            }
            let together = root.join(controllers);
            for controller in controllers.split(',').filter(|controller| !controller.starts_with("name=")) {
                let folder = if together.is_dir() { together.clone() } else { root.join(controller) };
                each.push((controller.to_owned(), below(&folder, path)));
            }
        }
        let id_of_each =
            || text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| up_to(path, container));
        // Beside controllers of version 1, the hierarchy of version 2 has none.
        if let Some(path) = unified.filter(|_| each.is_empty()) {
            return Some(Self { place: Place::Unified(below(&root, &path)), id: path });
        }
        (!each.is_empty()).then(|| Self { id: id_of_each().unwrap_or_default().to_owned(), place: Place::Each(each) })
    }
}

/// The group that the engine made. Its process may be in one below that: systemd in a container makes them, and crun.
fn up_to<'p>(path: &'p str, container: &str) -> Option<&'p str> {
    let at = path.find(container)?;
    let end = path[at..].find('/').map_or(path.len(), |slash| at + slash);
    Some(&path[..end])
}

/// A group's path is absolute in its hierarchy.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::{Groups, Place};
    use std::fs;
    use std::path::Path;

    fn of(root: &Path, cgroup: &str) -> Option<Groups> {
        let process = root.join("proc/7");
        fs::create_dir_all(&process).expect("created");
        fs::write(process.join("cgroup"), cgroup).expect("written");
        Groups::of(7, "abc", (&root.join("proc"), &root.join("sys")))
    }

    #[test]
    fn groups_of_both_versions_are_found_where_the_process_says() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = folder.path();
        let base = root.join("sys/fs/cgroup");
        fs::create_dir_all(base.join("cpu,cpuacct")).expect("created");
        let one =
            of(root, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n");
        let each = [("memory", "memory"), ("cpu", "cpu,cpuacct"), ("cpuacct", "cpu,cpuacct")];
        let each = each.map(|(name, folder)| (name.to_owned(), base.join(folder).join("docker/abc"))).to_vec();
        assert_eq!(one, Some(Groups { id: "/docker/abc".into(), place: Place::Each(each) }));
        let two = of(root, "0::/system.slice/docker-abc.scope\n").expect("found");
        assert_eq!(two.place, Place::Unified(base.join("system.slice/docker-abc.scope")));
        assert_eq!(two.id, "/system.slice/docker-abc.scope");
        let below = of(root, "0::/machine.slice/libpod-abc.scope/container/init.scope\n").expect("found");
        assert_eq!(below.id, "/machine.slice/libpod-abc.scope");
    }

    #[test]
    fn a_process_of_nobody_or_of_another_is_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(of(folder.path(), "0::/user.slice\n4:memory:/docker/other\nx\n:\n"), None);
        assert_eq!(Groups::of(8, "abc", (folder.path(), folder.path())), None);
    }
}

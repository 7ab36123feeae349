use super::values::{Bytes, Integer};
use hostwright_core::config::section::{Section, did_you_mean};
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::path::{Component, Path, PathBuf};

/// Storage that a container sees under `target`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mount {
    pub target: String,
    #[serde(flatten)]
    pub source: Source,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Where the storage comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// A file or folder of the host.
    Bind {
        path: String,
        /// Whether a missing folder is made.
        create: bool,
        /// Further words for the engine: `z`, `rshared`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
    /// A volume by its key under the top-level `volumes`.
    Volume {
        key: String,
        /// Whether the image's content is left out of an empty volume.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        nocopy: bool,
    },
    /// Memory.
    Tmpfs {
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<i64>,
    },
}

const NAMELESS: &str = "a volume without a name would be lost at the next update; name it under the top-level volumes";

/// What a mount may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Relative paths begin here.
    pub folder: &'a Path,
    /// The keys of the top-level `volumes`.
    pub volumes: &'a [String],
}

/// Reads `volumes` of a service.
pub fn read(section: &mut Section<'_>, scope: Scope<'_>) -> Vec<Mount> {
    let Some(node) = section.node("volumes") else { return Vec::new() };
    let Some(items) = section.items("volumes", node) else { return Vec::new() };
    let mut mounts: Vec<Mount> = Vec::new();
    for item in items {
        let mount = if item.mapping().is_some() {
            section.item("volumes", item).and_then(|section| long(section, scope))
        } else {
            short(item.text().unwrap_or_default(), scope)
                .map_err(|message| section.problem_at(item.place, "volumes", &message))
                .ok()
        };
        let Some(mount) = mount else { continue };
        if mounts.iter().any(|other| other.target == mount.target) {
            section.problem_at(item.place, "volumes", &format!("{:?} is mounted twice", mount.target));
        }
        check_volume(section, item, &mount, scope);
        mounts.push(mount);
    }
    mounts.sort();
    mounts
}

fn check_volume(section: &Section<'_>, item: &Node, mount: &Mount, scope: Scope<'_>) {
    if let Source::Volume { key, .. } = &mount.source
        && !scope.volumes.contains(key)
    {
        let hint = did_you_mean(key, scope.volumes.iter().map(String::as_str));
        let message = format!("there is no volume {key:?} under the top-level volumes{hint}");
        section.problem_at(item.place, "volumes", &message);
    }
}

/// `source:target[:options]`.
fn short(text: &str, scope: Scope<'_>) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] if target.starts_with('/') => return Err(NAMELESS.into()),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(format!("expected a volume such as ./data:/data or name:/data:ro, found {text:?}")),
    };
    if !target.starts_with('/') || source.is_empty() {
        return Err(format!("expected source:/absolute/target[:ro], found {text:?}"));
    }
    let (mut read_only, mut nocopy, mut further) = (false, false, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => nocopy = true,
            // These tuned Docker Desktop's file sharing and do nothing on Linux.
            "cached" | "delegated" | "consistent" => {}
            "z" | "Z" | "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => {
                further.push(option.to_owned());
            }
            _ => return Err(format!("the option {option:?} is not known; use ro, rw, z, Z, nocopy or a propagation")),
        }
    }
    let source = if source.starts_with(['/', '.', '~']) {
        Source::Bind { path: host_path(source, scope.folder)?, create: true, options: further }
    } else if further.is_empty() {
        Source::Volume { key: source.to_owned(), nocopy }
    } else {
        return Err(format!("the options {} are for folders of the host", further.join(",")));
    };
    Ok(Mount { target: target.to_owned(), source, read_only })
}

fn long(mut section: Section<'_>, scope: Scope<'_>) -> Option<Mount> {
    let kind = section.required::<String>("type");
    let target = section.required::<String>("target");
    if target.as_deref().is_some_and(|target| !target.starts_with('/')) {
        section.problem_with("target", "expected an absolute path in the container");
    }
    let read_only = section.or("read_only", false);
    let source = section.optional::<String>("source");
    // Docker Desktop's; nothing to do on Linux.
    let _ = section.optional::<String>("consistency");
    let source = match kind.as_deref() {
        Some("bind") => bind(&mut section, source, scope.folder),
        Some("volume") => volume(&mut section, source),
        Some("tmpfs") => tmpfs(&mut section),
        Some(other @ ("image" | "cluster" | "npipe")) => {
            section.problem_with("type", &format!("{other} is not supported yet; use bind, volume or tmpfs"));
            None
        }
        Some(other) => {
            section.problem_with("type", &format!("expected bind, volume or tmpfs, found {other:?}"));
            None
        }
        None => None,
    };
    section.finish();
    Some(Mount { target: target?, source: source?, read_only })
}

fn bind(section: &mut Section<'_>, source: Option<String>, folder: &Path) -> Option<Source> {
    let (create, options) = section
        .section("bind", |mut bind| {
            let create = bind.or("create_host_path", true);
            let propagation = bind.optional::<String>("propagation");
            let selinux = bind.optional::<String>("selinux");
            bind.refuse("recursive", "is not supported yet");
            bind.finish();
            Some((create, propagation.into_iter().chain(selinux).collect()))
        })
        .unwrap_or((true, Vec::new()));
    let Some(source) = source else {
        section.problem(section.place(), "a bind needs a source, the file or folder of the host");
        return None;
    };
    match host_path(&source, folder) {
        Ok(path) => Some(Source::Bind { path, create, options }),
        Err(message) => {
            section.problem_with("source", &message);
            None
        }
    }
}

fn volume(section: &mut Section<'_>, source: Option<String>) -> Option<Source> {
    let nocopy = section
        .section("volume", |mut volume| {
            let nocopy = volume.or("nocopy", false);
            volume.refuse("subpath", "is not supported yet");
            volume.refuse("labels", "is not supported yet; put them on the volume under the top-level volumes");
            volume.finish();
            Some(nocopy)
        })
        .unwrap_or(false);
    if source.is_none() {
        section.problem(section.place(), NAMELESS);
    }
    Some(Source::Volume { key: source?, nocopy })
}

fn tmpfs(section: &mut Section<'_>) -> Option<Source> {
    section.node("tmpfs").map_or(Some(Source::Tmpfs { size: None, mode: None }), |_| {
        section.section("tmpfs", |mut tmpfs| {
            let size = tmpfs.optional::<Bytes>("size").map(|size| size.0);
            let mode = tmpfs.optional::<Integer>("mode").map(|mode| mode.0);
            tmpfs.finish();
            Some(Source::Tmpfs { size, mode })
        })
    })
}

/// An absolute path, from one that may begin at the Compose file's folder or the home folder.
fn host_path(source: &str, folder: &Path) -> Result<String, String> {
    let path = match source.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = std::env::var("HOME").map_err(|_| "\"~\" stands for HOME, which is not set; write it out")?;
            PathBuf::from(home).join(rest.trim_start_matches('/'))
        }
        _ => folder.join(source),
    };
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    let text = clean.display().to_string();
    // The engine separates source, target and options by colons.
    if text.contains(':') { Err(format!("a path with a colon cannot be mounted: {text:?}")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::{Mount, Scope, Source, short};
    use std::path::Path;

    fn read(text: &str) -> Result<Mount, String> {
        short(text, Scope { folder: Path::new("/srv/app"), volumes: &[] })
    }

    fn bind(path: &str, target: &str, read_only: bool) -> Mount {
        let source = Source::Bind { path: path.into(), create: true, options: Vec::new() };
        Mount { target: target.into(), source, read_only }
    }

    #[test]
    fn relative_sources_begin_at_the_folder_of_the_compose_file() {
        assert_eq!(read("./data/../logs:/logs"), Ok(bind("/srv/app/logs", "/logs", false)));
        assert_eq!(read("../x:/x:ro"), Ok(bind("/srv/x", "/x", true)));
        assert_eq!(read("/var/log/basegun:/app/logs:rw,cached"), Ok(bind("/var/log/basegun", "/app/logs", false)));
    }

    #[test]
    fn a_name_is_a_volume() {
        let source = Source::Volume { key: "data".into(), nocopy: true };
        assert_eq!(read("data:/d:nocopy"), Ok(Mount { target: "/d".into(), source, read_only: false }));
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for wrong in ["/data", "data", "a:b", ":/x", "a:/b:c:d", "a:/b:wo", "data:/d:rshared", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

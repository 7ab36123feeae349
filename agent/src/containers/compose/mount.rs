use super::model::Tree;
use super::read;
use serde::Serialize;

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
        /// `z` or `Z`, for the engine to relabel it.
        #[serde(skip_serializing_if = "Option::is_none")]
        selinux: Option<String>,
        /// A folder in the volume.
        #[serde(skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
    /// A volume that lives as long as its container.
    Anonymous,
    /// Memory.
    Tmpfs {
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<i64>,
    },
    /// The files of an image.
    Image {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
    },
}

/// Reads a service's `volumes`, with what the engine would refuse.
pub fn read(service: &Tree) -> Result<Vec<Mount>, (&Tree, String)> {
    let mut mounts: Vec<Mount> = Vec::new();
    for tree in read::list(service, "volumes") {
        let mount = one(tree).map_err(|message| (tree, message))?;
        if mounts.iter().any(|other| other.target == mount.target) {
            return Err((tree, format!("{:?} is mounted twice", mount.target)));
        }
        mounts.push(mount);
    }
    mounts.sort();
    Ok(mounts)
}

fn one(tree: &Tree) -> Result<Mount, String> {
    let target = read::text(tree, "target").unwrap_or_default();
    if !target.starts_with('/') {
        return Err(format!("expected an absolute path in the container, found {target:?}"));
    }
    let inner = |kind: &str, key: &str| tree.get(kind).and_then(|inner| read::text(inner, key));
    let named = read::text(tree, "source");
    let source = match (tree.get_text("type").unwrap_or_default(), named) {
        ("bind", Some(path)) if path.contains(':') => {
            return Err(format!("a path with a colon cannot be mounted: {path:?}"));
        }
        ("bind", Some(path)) => {
            let create = tree.get("bind").is_none_or(|bind| read::is_set(bind, "create_host_path"));
            if !create && inner("bind", "selinux").is_some() {
                return Err("selinux needs create_host_path: true: the engine relabels in no other form".into());
            }
            Source::Bind {
                path,
                create,
                options: inner("bind", "propagation").into_iter().chain(inner("bind", "selinux")).collect(),
            }
        }
        ("volume", Some(key)) => {
            let nocopy = tree.get("volume").is_some_and(|volume| read::is_set(volume, "nocopy"));
            let selinux = inner("bind", "selinux");
            if selinux.is_some() && inner("volume", "subpath").is_some() {
                return Err("selinux and subpath exclude each other: the engine has no form for both".into());
            }
            Source::Volume { key, nocopy, subpath: inner("volume", "subpath"), selinux }
        }
        ("volume", None) => Source::Anonymous,
        ("tmpfs", _) => {
            let number = |key| tree.get("tmpfs").and_then(|tmpfs| read::integer(tmpfs, key));
            Source::Tmpfs { size: number("size"), mode: number("mode") }
        }
        ("image", Some(name)) => Source::Image { name, subpath: inner("image", "subpath") },
        ("bind" | "image", None) => return Err("the key \"source\" is missing".into()),
        (other, _) => return Err(format!("the type {other:?} is not supported; use bind, volume, tmpfs or image")),
    };
    Ok(Mount { target, source, read_only: read::is_set(tree, "read_only") })
}

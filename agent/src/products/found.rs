use super::folder::{Fingerprint, Stamp, digest};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A product as it was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Its path in the folder.
    pub(super) path: Arc<str>,
    /// Of a folder: the size of all, the latest of their times, and a digest of what is in it.
    pub(super) stamp: Stamp,
    /// Whether it was renamed after its content was written, as far as the kernel's clock ticks: a rename changes the
    /// inode, which writing does too, but not the content.
    pub(super) was_renamed: bool,
    pub(super) body: Body,
    /// The job whose outputs it is, as its runner described it.
    pub(super) job: Option<Arc<Map<String, Value>>>,
}

/// What a product is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    File,
    Folder(Arc<Contents>),
}

/// What is in a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// In the order of their paths.
    pub(super) members: Vec<Member>,
    /// Paths of what is neither file nor folder, and why it is not taken.
    pub(super) left_out: Vec<(String, String)>,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its path in the folder that is the product.
    pub(super) path: String,
    pub(super) stamp: Stamp,
}

impl Found {
    pub(super) fn file(path: Arc<str>, stamp: Stamp) -> Self {
        let was_renamed = stamp.ctime > stamp.fingerprint.mtime;
        Self { path, stamp, was_renamed, body: Body::File, job: None }
    }

    /// A folder, of which `own` is the stamp of the folder itself.
    pub(super) fn folder(path: Arc<str>, own: Stamp, contents: Contents) -> Self {
        let stamp = contents.stamp(own);
        // That of the folder itself: a file in it may have been renamed by whoever was still at work.
        let was_renamed = own.ctime > own.fingerprint.mtime.max(stamp.fingerprint.mtime);
        Self { path, stamp, was_renamed, body: Body::Folder(Arc::new(contents)), job: None }
    }

    /// Its files: path in the watched folder, and stamp.
    pub(super) fn files(&self) -> Vec<(Arc<str>, Stamp)> {
        match &self.body {
            Body::File => vec![(self.path.clone(), self.stamp)],
            Body::Folder(contents) => {
                contents.members.iter().map(|member| (self.path_of(&member.path).into(), member.stamp)).collect()
            }
        }
    }

    /// The path of a member in the watched folder.
    pub(super) fn path_of(&self, member: &str) -> String {
        if self.path.is_empty() { member.to_owned() } else { format!("{}/{member}", self.path) }
    }

    /// Whether it is a folder without a file.
    pub(super) fn is_empty(&self) -> bool {
        matches!(&self.body, Body::Folder(contents) if contents.members.is_empty())
    }

    /// Its name: the last part of its path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is the same product with the same content.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        self.path == other.path && self.stamp.same_content(&other.stamp)
    }
}

impl Contents {
    fn stamp(&self, own: Stamp) -> Stamp {
        let members = &self.members;
        let latest = |time: fn(&Stamp) -> (i64, i64)| members.iter().map(|member| time(&member.stamp)).max();
        let mut bytes = Vec::new();
        for member in members {
            bytes.extend(member.path.as_bytes());
            bytes.push(0);
            bytes.extend(member.stamp.fingerprint.digest().to_le_bytes());
        }
        let fingerprint = Fingerprint {
            size: members.iter().map(|member| member.stamp.fingerprint.size).sum(),
            mtime: latest(|stamp| stamp.fingerprint.mtime).unwrap_or(own.fingerprint.mtime),
            inode: digest(&bytes),
        };
        // A change of rights of a file is no change of the product, and neither is the folder's own.
        let ctime = latest(|stamp| stamp.ctime).unwrap_or(own.ctime).max(own.fingerprint.mtime);
        Stamp { fingerprint, device: own.device, ctime }
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, Found, Member};
    use crate::products::folder::{Fingerprint, Stamp};

    fn stamp(size: u64, second: i64) -> Stamp {
        Stamp { fingerprint: Fingerprint { size, mtime: (second, 0), inode: 7 }, device: 1, ctime: (second, 0) }
    }

    #[test]
    fn a_folder_differs_when_anything_in_it_does() {
        let folder = |members: &[(&str, Stamp)]| {
            let members = members.iter().map(|(path, stamp)| Member { path: (*path).into(), stamp: *stamp }).collect();
            Found::folder("f".into(), stamp(9, 9), Contents { members, left_out: Vec::new() })
        };
        let one = folder(&[("a", stamp(1, 1)), ("b/c", stamp(2, 2))]);
        assert_eq!((one.stamp.fingerprint.size, one.stamp.fingerprint.mtime), (3, (2, 0)));
        assert!(one.same_content(&folder(&[("a", stamp(1, 1)), ("b/c", stamp(2, 2))])));
        for other in [
            folder(&[("a", stamp(1, 1))]),
            folder(&[("a", stamp(1, 2)), ("b/c", stamp(2, 2))]),
            folder(&[("x", stamp(1, 1)), ("b/c", stamp(2, 2))]),
        ] {
            assert!(!one.same_content(&other), "{other:?}");
        }
        let renamed = |ctime: i64| {
            let members = vec![Member { path: "a".into(), stamp: stamp(1, 8) }];
            let own = Stamp { ctime: (ctime, 0), ..stamp(9, 7) };
            Found::folder("f".into(), own, Contents { members, left_out: Vec::new() }).was_renamed
        };
        assert!(renamed(9) && !renamed(8));
        assert_eq!(one.files().iter().map(|(path, _)| &**path).collect::<Vec<_>>(), ["f/a", "f/b/c"]);
    }
}

use super::folder::Stamp;
use super::found::{Body, Found, Member};
use super::key::check;
use super::queue::Entry;
use std::sync::Arc;

/// One file on its way.
pub(super) struct Piece<'e> {
    pub(super) path: Arc<str>,
    pub(super) stamp: Stamp,
    pub(super) key: String,
    /// What the manifest calls it.
    pub(super) name: &'e str,
}

/// Whether a path is that of a product, or in it.
pub(super) fn is_of(path: &str, product: &str) -> bool {
    path.strip_prefix(product).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The files of a product, in the order in which they are sent.
pub(super) fn pieces(entry: &Entry) -> Vec<Piece<'_>> {
    let found = &entry.found;
    match &found.body {
        Body::File => {
            let (path, key) = (found.path.clone(), entry.key.to_string());
            vec![Piece { path, stamp: found.stamp, key, name: found.name() }]
        }
        Body::Folder(contents) => {
            let piece = |member: &Member| (found.path_of(&member.path), member.stamp);
            let members = contents.members.iter().map(|member| (piece(member), member.path.as_str()));
            members
                .map(|((path, stamp), name)| Piece {
                    path: path.into(),
                    stamp,
                    key: format!("{}/{name}", entry.key),
                    name,
                })
                .collect()
        }
    }
}

/// The keys that a product takes are at most as long as a bucket allows.
pub(super) fn check_keys(found: &Found, key: &str) -> Result<(), String> {
    let Body::Folder(contents) = &found.body else { return Ok(()) };
    contents.members.iter().try_for_each(|member| {
        check(&format!("{key}/{}", member.path)).map_err(|why| format!("of {:?} {why}", member.path))
    })
}

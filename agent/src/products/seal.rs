use super::folder::{Folder, Stamp, is_gone};
use hostwright_core::bucket::{Content, Proof};
use std::io;

/// Why a file cannot be sealed now.
#[derive(Debug)]
pub(super) enum Unsealed {
    /// It is not there any more.
    Gone,
    /// It is not as it was found: whoever changes it finishes first.
    Changed,
    /// It cannot be read.
    Unreadable(io::Error),
}

/// Reads a file once for its checksums, and sees that it stayed the same meanwhile.
///
/// From here on any change is noticed: what is sent must have the checksums that were read here. The manifest of a
/// product of several files is made of these.
pub(super) async fn seal(folder: &Folder, path: &str, found: &Stamp, proof: Proof) -> Result<Content, Unsealed> {
    let (file, stamp) = folder.open(path).map_err(unsealed)?;
    if !stamp.same_content(found) {
        return Err(Unsealed::Changed);
    }
    let content = Content::read_for(file, stamp.fingerprint.size, proof).await;
    // First the change, because it also explains a file that ended too early.
    unchanged(folder, path, found)?;
    content.map_err(unsealed)
}

/// Sees that a file is still as it was found.
pub(super) fn unchanged(folder: &Folder, path: &str, found: &Stamp) -> Result<(), Unsealed> {
    let stamp = folder.stamp(path).map_err(unsealed)?;
    if stamp.same_content(found) { Ok(()) } else { Err(Unsealed::Changed) }
}

fn unsealed(error: io::Error) -> Unsealed {
    if is_gone(&error) { Unsealed::Gone } else { Unsealed::Unreadable(error) }
}

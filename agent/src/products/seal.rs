use super::folder::{Folder, Stamp, is_gone};
use hostwright_core::bucket::{Bucket, Content};
use hostwright_core::config::buckets::ObjectOptions;
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

/// Reads a file for its checksums, or opens it to be read while it is sent, and sees that it stayed the same meanwhile.
///
/// From here on any change is noticed: what is sent must have the checksums that were read here, or the file be the same
/// when its last byte is read as it was when it was opened.
pub(super) async fn seal(
    folder: &Folder,
    path: &str,
    found: &Stamp,
    (bucket, options): (&Bucket, &ObjectOptions),
) -> Result<Content, Unsealed> {
    let (file, stamp) = folder.open(path).map_err(unsealed)?;
    if !stamp.same_content(found) {
        return Err(Unsealed::Changed);
    }
    let content = bucket.content(file, stamp.fingerprint.size, options).await;
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

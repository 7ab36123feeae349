use super::check::{Check, Checking, Proof};
use super::piece::read_through;
use crate::hex::hex;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use sha2::Sha256;
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

/// How many pieces one digest may be behind the other.
const AHEAD: usize = 4;

/// The checksums of a content.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// Of each part; of the whole where one request carries it. None where SHA-256 is the proof.
    pub(super) checks: Vec<Check>,
    pub(super) sha256: [u8; 32],
    /// In hexadecimal.
    pub(super) sha256_text: String,
}

impl Sums {
    pub(super) fn new(checks: Vec<Check>, sha256: [u8; 32]) -> Self {
        Self { checks, sha256, sha256_text: hex(&sha256) }
    }

    /// The ETag that S3 APIs give, where it is known: the MD5, and for an object in parts the MD5 of the parts' MD5s and
    /// their number.
    pub(super) fn etag(&self) -> Option<String> {
        let md5s = self.checks.iter().map(|check| check.md5().ok());
        etag_of(&md5s.collect::<Option<Vec<_>>>()?)
    }
}

/// The ETag of an object whose parts have these MD5s.
pub(super) fn etag_of(md5s: &[[u8; 16]]) -> Option<String> {
    match md5s {
        [] => None,
        [md5] => Some(hex(md5)),
        parts => Some(format!("{}-{}", hex(&Md5::digest(parts.concat())), parts.len())),
    }
}

/// Those of a file, of which nothing is kept but they.
pub(super) fn checksums(
    file: &File,
    size: u64,
    (part_size, proof): (u64, Proof),
    interrupted: &AtomicBool,
) -> io::Result<Sums> {
    if size > part_size {
        return checksums_of_parts(file, size, (part_size, proof), interrupted);
    }
    let (mut check, mut sha256) = (Checking::new(proof), Sha256::new());
    read_through(file, 0..size, interrupted, |piece| {
        sha256.update(&piece);
        check.update(&piece);
        Ok(())
    })?;
    Ok(Sums::new(check.finish().into_iter().collect(), sha256.finalize().into()))
}

/// Two digests of a large file take two cores, and a third less time; of what is read once.
fn checksums_of_parts(
    file: &File,
    size: u64,
    (part_size, proof): (u64, Proof),
    interrupted: &AtomicBool,
) -> io::Result<Sums> {
    std::thread::scope(|scope| {
        let (give, take) = sync_channel::<Bytes>(AHEAD);
        let whole = scope.spawn(move || {
            let digest = take.iter().fold(Sha256::new(), |digest, piece| digest.chain_update(&piece));
            <[u8; 32]>::from(digest.finalize())
        });
        let mut checks = Vec::new();
        let mut offset = 0;
        while offset < size {
            let end = (offset + part_size).min(size);
            let mut part = Checking::new(proof);
            read_through(file, offset..end, interrupted, |piece| {
                part.update(&piece);
                give.send(piece).map_err(io::Error::other)
            })?;
            checks.extend(part.finish());
            offset = end;
        }
        drop(give);
        let sha256 = whole.join().map_err(|_| io::Error::other("a checksum could not be computed"))?;
        Ok(Sums::new(checks, sha256))
    })
}

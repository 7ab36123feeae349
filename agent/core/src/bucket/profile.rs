use super::error::Reason;
use super::put::Put;
use crate::config::buckets::Encryption;
use crate::state::StateFile;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use std::path::Path;

const VERSION: u32 = 2;
/// Stores are updated and rights are granted: after this time a bucket is tried out again.
const DAYS: i64 = 30;

/// What a bucket was found to do when it was tried out. Nothing here is believed from a success alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Where the bucket is.
    pub place: String,
    /// When it was tried out.
    pub probed: Timestamp,
    /// What the store says that it is.
    pub server: Option<String>,
    /// What the credentials may do.
    pub rights: Rights,
    /// Which wrong checksums are refused.
    pub checks: Checks,
    /// Whether the ETag of an object that one request carried is the MD5 of its content.
    #[serde(default)]
    pub etag_is_md5: bool,
    /// Whether an answer to `x-amz-checksum-sha256` has the checksum that the store itself computed.
    #[serde(default)]
    pub tells_sha256: bool,
    /// The same of `x-amz-checksum-crc64nvme`: then objects of one request are sent under it.
    #[serde(default)]
    pub tells_crc64nvme: bool,
    /// Whether it refuses parts, and completions, under a wrong one (checksum type `FULL_OBJECT`): then parts are sent
    /// under it, and all of them together.
    #[serde(default)]
    pub parts_by_crc64nvme: bool,
    /// How many parts an upload may have.
    pub most_parts: u32,
    /// Whether a second write under `If-None-Match: *` is refused.
    pub conditional_writes: bool,
    /// Whether tags can be read back.
    pub tags: bool,
    /// Whether several objects can be deleted by one request.
    pub batch_delete: bool,
    /// Whether the bucket says that object lock is enabled.
    pub object_lock: bool,
    /// Whether uploads that were not completed can be listed.
    pub lists_uploads: bool,
}

/// What the credentials may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// List objects.
    pub list: bool,
    /// Store objects.
    pub put: bool,
    /// Read back what was stored.
    pub head: bool,
    /// Upload in parts.
    pub multipart: bool,
    /// Delete objects.
    pub delete: bool,
}

/// Which wrong checksums the store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Content-MD5.
    pub md5: bool,
    /// `x-amz-checksum-sha256`.
    pub sha256: bool,
    /// `x-amz-checksum-crc64nvme`.
    pub crc64nvme: bool,
}

impl Rights {
    /// All of them.
    pub const ALL: Self = Self { list: true, put: true, head: true, multipart: true, delete: true };
}

impl Profile {
    /// A folder's.
    pub(super) fn of_folder(place: &str) -> Self {
        Self {
            place: place.to_owned(),
            probed: Timestamp::now(),
            server: None,
            rights: Rights::ALL,
            checks: Checks { md5: true, sha256: true, crc64nvme: false },
            etag_is_md5: false,
            tells_sha256: false,
            tells_crc64nvme: false,
            parts_by_crc64nvme: false,
            most_parts: u32::MAX,
            conditional_writes: false,
            tags: false,
            batch_delete: false,
            object_lock: false,
            lists_uploads: false,
        }
    }

    /// What is missing for uploads, in words; empty where nothing is.
    pub fn missing(&self) -> Vec<&'static str> {
        let Rights { list, put, head, multipart, delete: _ } = self.rights;
        let all = [
            (put, "the right to store objects (PutObject)"),
            (head, "the right to read back what was stored (GetObject)"),
            (multipart, "the right to upload in parts (PutObject, AbortMultipartUpload)"),
            (list, "the right to list (ListBucket)"),
        ];
        let mut missing: Vec<_> = all.into_iter().filter(|(there, _)| !there).map(|(_, words)| words).collect();
        if put && !self.checks.md5 {
            missing.push("a check of what arrives: it takes content under a wrong Content-MD5");
        }
        missing
    }

    /// Refuses by name what the store is known not to do.
    pub(super) fn supports(&self, put: Put<'_>) -> Result<(), Reason> {
        let refused = |what: String| Err(Reason::Unsupported { what });
        if !put.options.tags.is_empty() && !self.tags {
            return refused("tags (it does not give back what it takes); metadata does the same".into());
        }
        let parts = put.content.parts();
        if parts > usize::try_from(self.most_parts).unwrap_or(usize::MAX) {
            let (size, most) = (put.content.size(), self.most_parts);
            return refused(format!("an object of {size} bytes: it takes {most} parts, of 5 GiB each, at most"));
        }
        Ok(())
    }

    /// Refuses what could never be confirmed, before anything is sent: it may not be read back, and the answer to its upload
    /// tells no checksum that proves it.
    pub(super) fn can_prove(&self, put: Put<'_>) -> Result<(), Reason> {
        let etag_is_md5 = matches!(put.options.encryption, None | Some(Encryption::Store)) && self.etag_is_md5;
        let by_answer = match put.content.parts() {
            1 => self.tells_crc64nvme || self.tells_sha256,
            _ => self.parts_by_crc64nvme,
        };
        if self.rights.head || etag_is_md5 || by_answer {
            return Ok(());
        }
        let code = "HeadObject; this takes s3:GetObject, because this store's answer to such an upload proves nothing";
        Err(Reason::Denied { code: code.into() })
    }

    /// The profile that was kept of the bucket, if it is of this place, not old, and nothing was missing in it.
    pub(super) fn load(path: &Path, place: &str) -> Option<Self> {
        let loaded = StateFile::<Self>::new(path.to_owned(), VERSION).load();
        let profile = loaded.unwrap_or_else(|error| {
            // It can be had again.
            log::warn!("{error}");
            None
        })?;
        let fresh = Timestamp::now() < profile.probed + (24 * DAYS).hours();
        (profile.place == place && fresh && profile.missing().is_empty()).then_some(profile)
    }

    pub(super) fn keep(&self, path: &Path) {
        if let Err(error) = StateFile::new(path.to_owned(), VERSION).store(self) {
            log::warn!("{error}");
        }
    }
}

use super::Content;
use crate::config::buckets::ObjectOptions;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static NO_OPTIONS: ObjectOptions = ObjectOptions {
    content_type: None,
    metadata: BTreeMap::new(),
    tags: BTreeMap::new(),
    storage_class: None,
    encryption: None,
    acl: None,
};

/// What is to be stored, and under which key.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The key.
    pub key: &'a str,
    /// The file and its checksums.
    pub content: &'a Content,
    /// Further metadata (`x-amz-meta-…`): visible ASCII. A folder has no place for it.
    pub metadata: &'a [(String, String)],
    /// Media type, tags, encryption and the like.
    pub options: &'a ObjectOptions,
    /// Is told what has been sent.
    pub progress: Option<&'a Progress>,
    /// Whether an object that is there stays: then the answer is [`super::Reason::Exists`]. Only stores that know
    /// conditional writes heed it ([`super::Profile::conditional_writes`]).
    pub only_new: bool,
}

impl<'a> Put<'a> {
    /// An object without more than its key and content.
    pub fn new(key: &'a str, content: &'a Content) -> Self {
        Self { key, content, metadata: &[], options: &NO_OPTIONS, progress: None, only_new: false }
    }

    /// The media type: as configured, else by the ending of the key.
    pub(super) fn content_type(&self) -> &str {
        self.options.content_type.as_deref().unwrap_or_else(|| media_type(self.key))
    }

    /// All metadata: ours, the caller's, then the operator's.
    pub(super) fn all_metadata(&self) -> impl Iterator<Item = (String, String)> {
        // Of what is read while it is sent it is not known when the upload begins.
        let ours = self.content.sha256().map(|sha256| ("sha256".to_owned(), sha256.to_owned()));
        let theirs = self.options.metadata.iter().map(|(name, value)| (name.clone(), value.clone()));
        ours.into_iter().chain(self.metadata.iter().cloned()).chain(theirs)
    }
}

/// How many bytes of an object have gone over the wire. Clones tell of the same transfer.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Bytes that were handed to the network, or found in the store already. What is sent again counts once.
    pub fn done(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds bytes that are done.
    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back what has to be sent again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The media types of the endings that products and logs have (IANA's registry).
fn media_type(key: &str) -> &'static str {
    let name = key.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "csv" => "text/csv",
        "htm" | "html" => "text/html",
        "xml" => "application/xml",
        "json" => "application/json",
        "ndjson" | "jsonl" => "application/x-ndjson",
        "geojson" => "application/geo+json",
        "yaml" | "yml" => "application/yaml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "tif" | "tiff" => "image/tiff",
        "jp2" => "image/jp2",
        "mp4" => "video/mp4",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "zst" => "application/zstd",
        "tar" => "application/x-tar",
        "nc" => "application/netcdf",
        "h5" | "hdf5" => "application/x-hdf5",
        "parquet" => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::media_type;

    #[test]
    fn the_media_type_is_of_the_names_ending() {
        assert_eq!(media_type("a.b/FSC.TIF"), "image/tiff");
        for unknown in ["a.json/b", "x", "", ".", "json"] {
            assert_eq!(media_type(unknown), "application/octet-stream", "{unknown}");
        }
    }
}

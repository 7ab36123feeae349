use super::{Depth, Parts};
use crate::boot::web::shown;

/// A place whose content belongs into the user-data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// `https://…`, `s3://bucket/key` or a file.
    pub url: String,
    /// What its content must be, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Whose minisign signature it must have.
    pub signed_by: Option<String>,
}

/// Why a place could not be included.
#[derive(Debug)]
pub enum NotFetched {
    /// The network is not up yet: the final stage tries again.
    Later,
    /// The reason, as a sentence.
    Never(String),
}

/// Where included places come from.
pub trait Fetch {
    /// The content of a place.
    ///
    /// # Errors
    /// It cannot be had, now or at all.
    fn fetch(&mut self, include: &Include) -> Result<Vec<u8>, NotFetched>;

    /// Takes notice of the buckets that a section names.
    fn buckets(&mut self, _section: &hostwright_core::yaml::Node) {}
}

impl Include {
    /// `#sha256=…` behind a URL is no part of it: a server never sees what stands behind a `#`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = ["https://", "http://", "s3://", "file:///", "/"];
        if !known.iter().any(|start| text.starts_with(start)) {
            return Err("expected https://…, s3://bucket/key or file:///path".to_owned());
        }
        let Some((url, fragment)) = text.split_once('#') else {
            return Ok(Self { url: text.to_owned(), sha256: None, signed_by: None });
        };
        let Some(digest) = fragment.strip_prefix("sha256=") else {
            return Ok(Self { url: url.to_owned(), sha256: None, signed_by: None });
        };
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("expected 64 hexadecimal digits behind #sha256=, found {digest:?}"));
        }
        Ok(Self { url: url.to_owned(), sha256: Some(digest.to_ascii_lowercase()), signed_by: None })
    }
}

impl Parts {
    /// One place a line; lines that begin with `#` are comments, but for the words themselves.
    pub(super) fn include(&mut self, text: &str, lines_before: Option<usize>, depth: Depth, fetch: &mut dyn Fetch) {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_ascii_lowercase();
            let word = ["#include-once", "#include"].into_iter().find(|word| lower.starts_with(word));
            let place = word.map_or(line, |word| line[word.len()..].trim_start());
            if place.starts_with('#') || place.trim().is_empty() {
                continue;
            }
            let line = lines_before.unwrap_or(0) + number;
            let include = Include::parse(place.trim()).map_err(NotFetched::Never);
            let fetched = include.and_then(|include| fetch.fetch(&include));
            match fetched {
                Ok(content) => self.blob(&content, Depth(depth.0 + 1), fetch),
                Err(NotFetched::Later) => self.waiting.push(place.trim().to_owned()),
                Err(NotFetched::Never(why)) => {
                    self.error(line, format!("cannot include {}: {why}", shown(place.trim())));
                }
            }
        }
    }
}

use super::request::Request;
use super::{Context, Failure};
use crate::boot::host::{Host, read_bounded};
use crate::boot::userdata::boot_section::Fetched;
use crate::boot::web::shown;
use hostwright_core::bucket::Bucket;
use hostwright_core::config::Config;
use hostwright_core::config::buckets;
use hostwright_core::hex::hex;
use minisign_verify::{PublicKey, Signature};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Buckets by their names.
pub type Buckets = BTreeMap<String, buckets::Bucket>;

/// Where an image names buckets for its instances.
const AGENT: &str = "/etc/hostwright/agent.yaml";
const MAX_SIGNATURE: u64 = 64 << 10;

/// What is there, and only if it is what it must be.
///
/// # Errors
/// It cannot be had, is larger than `at_most`, or is not the right one.
pub fn fetch(context: &Context<'_>, what: &Fetched, buckets: &Buckets, at_most: u64) -> Result<Vec<u8>, Failure> {
    let content = get(context.host, &what.from, buckets, at_most)?;
    let place = shown(&what.from);
    if let Some(wanted) = &what.sha256 {
        let found = hex(&Sha256::digest(&content));
        if found != *wanted {
            return Err(Failure::new(
                format!("{place} has the sha256 {found}, and the user-data wants {wanted}"),
                "give the right file or the right sha256",
            ));
        }
    }
    if let Some(key) = &what.signed_by {
        let (plain, query) =
            what.from.split_once('?').map_or((what.from.as_str(), None), |(url, query)| (url, Some(query)));
        let end = query.map_or_else(String::new, |query| format!("?{query}"));
        let signature = get(context.host, &format!("{plain}.minisig{end}"), buckets, MAX_SIGNATURE)?;
        check(&content, key, &signature).map_err(|why| {
            Failure::new(
                format!("the signature {place}.minisig does not fit: {why}"),
                "sign the file anew, or name the key that has signed it",
            )
        })?;
    }
    Ok(content)
}

fn check(content: &[u8], key: &str, signature: &[u8]) -> Result<(), minisign_verify::Error> {
    let signature = Signature::decode(&String::from_utf8_lossy(signature))?;
    PublicKey::from_base64(key)?.verify(content, &signature, false)
}

fn get(host: &Host, from: &str, buckets: &Buckets, at_most: u64) -> Result<Vec<u8>, Failure> {
    if let Some(object) = from.strip_prefix("s3://") {
        return of_bucket(host, object, buckets, at_most);
    }
    if from.starts_with("http://") || from.starts_with("https://") {
        return Request::get(from, &BTreeMap::new(), at_most).send(host);
    }
    let path = from.strip_prefix("file://").unwrap_or(from);
    read_bounded(&host.path(path), at_most).map_err(|error| {
        Failure::new(
            format!("cannot read {path}: {error}"),
            "put the file there, or correct its place in the user-data",
        )
    })
}

fn of_bucket(host: &Host, object: &str, buckets: &Buckets, at_most: u64) -> Result<Vec<u8>, Failure> {
    let (name, key) = object.split_once('/').unwrap_or((object, ""));
    let bucket = open(host, name, buckets)?;
    host.block_on(bucket.get(key, at_most)).map_err(|error| {
        let mut why = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            why.push_str(&format!(": {error}"));
            source = error.source();
        }
        Failure::new(
            why,
            "see that the object is there and the bucket's credentials may read it; the next boot tries again",
        )
    })
}

/// A bucket of the user-data, or of the image.
///
/// # Errors
/// There is none of that name, or its credentials are missing.
pub fn open(host: &Host, name: &str, buckets: &Buckets) -> Result<Bucket, Failure> {
    let of_image = || Config::read(&host.path(AGENT)).ok()?.buckets.remove(name);
    let settings = buckets.get(name).cloned().or_else(of_image).ok_or_else(|| {
        Failure::new(
            format!("there is no bucket {name:?}"),
            format!("name it under hostwright: buckets:, or in the image's {AGENT}"),
        )
    })?;
    Bucket::open(name, &settings).map_err(|error| {
        let source = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        Failure::new(format!("{error}{source}"), "see that its credentials are there")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Context;
    use super::{Buckets, check, fetch};
    use crate::boot::host::Host;
    use crate::boot::userdata::boot_section::Fetched;
    use hostwright_core::config::buckets::Bucket;

    #[test]
    fn what_comes_from_a_bucket_is_taken_only_if_it_is_the_right_one() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.path().to_owned(), resumed: false };
        std::fs::create_dir(tree.path().join("b")).expect("folder");
        std::fs::write(tree.path().join("b/hello"), "hello").expect("written");
        let buckets: Buckets = [("b".to_owned(), Bucket::Folder(tree.path().join("b")))].into();
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let object =
            |digest: &str| Fetched { from: "s3://b/hello".into(), sha256: Some(digest.into()), signed_by: None };
        assert_eq!(fetch(&context, &object(digest), &buckets, 100).expect("fetched"), b"hello");
        assert!(fetch(&context, &object(&"0".repeat(64)), &buckets, 100).expect_err("refused").why.contains("wants"));
        assert!(fetch(&context, &object(digest), &Buckets::new(), 100).expect_err("refused").why.contains("no bucket"));
        fetch(&context, &object(digest), &buckets, 2).expect_err("too large");
    }

    #[test]
    fn a_signature_counts_only_with_its_key_and_content() {
        // Minisign's own example.
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let signature = b"untrusted comment: signature from minisign secret key\nRUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\ntrusted comment: timestamp:1633700835\tfile:test\tprehashed\nwLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
        assert!(check(b"test", key, signature).is_ok());
        assert!(check(b"tesT", key, signature).is_err());
    }
}

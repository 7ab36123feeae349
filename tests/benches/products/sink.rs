//! A receiver in the place of a store, for what no store here takes fast enough: a fake, which every row that it is in
//! says. It takes whatever comes and keeps none of it; its answers are those of a store: the MD5s and SHA-256s that bodies
//! have (of large ones: that they are said to have), so that the checks of all clients pass.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hostwright_tests::receivers::http_server::{HttpServer, Reply, Request};
use md5::{Digest as _, Md5};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Up to here it looks at what it gets; the kernel drops the rest unread.
const LOOKED_AT: usize = 64 << 10;

const SHA256: &str = "x-amz-checksum-sha256";

type Objects = BTreeMap<String, Held>;

/// What is known of an object or of an upload in parts under its key.
#[derive(Debug, Default)]
struct Held {
    size: usize,
    etag: String,
    parts: BTreeMap<u32, [u8; 16]>,
    metadata: Vec<(String, String)>,
}

/// Takes any bucket, any key and any credentials.
pub(super) fn start() -> Result<HttpServer> {
    let objects = Mutex::new(Objects::new());
    HttpServer::start_dropping(LOOKED_AT, move |request| {
        let told = request.header("content-md5").and_then(|md5| BASE64.decode(md5).ok());
        let told = told.and_then(|md5| <[u8; 16]>::try_from(md5).ok());
        let md5 = if request.encoded_length > LOOKED_AT { told } else { Some(Md5::digest(&request.body).into()) };
        let sha256 = request.header(SHA256).map(str::to_owned);
        let is_seen = request.encoded_length <= LOOKED_AT;
        let other =
            is_seen && sha256.as_ref().is_some_and(|told| *told != BASE64.encode(Sha256::digest(&request.body)));
        if other || told.is_some() && told != md5 {
            return failed(400, "BadDigest");
        }
        let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reply = answer(request, md5.unwrap_or_default(), &mut objects);
        // As AWS and s3s-fs tell it back.
        reply.headers.extend(sha256.map(|told| (SHA256.to_owned(), told)));
        reply
    })
}

/// As much of an S3 API as uploads need.
fn answer(request: &Request, md5: [u8; 16], objects: &mut Objects) -> Reply {
    let (key, size) = (request.path.clone(), request.encoded_length);
    match (request.method.as_str(), request.query("partNumber"), request.query("uploadId")) {
        ("PUT", Some(number), Some(_)) => {
            let held = objects.entry(key).or_default();
            held.size += size;
            held.parts.insert(number.parse().unwrap_or_default(), md5);
            stored(&hex(&md5))
        }
        ("PUT", ..) if request.query.iter().all(|(name, _)| name == "x-id") => {
            let metadata = metadata_of(request);
            objects.insert(key, Held { size, etag: hex(&md5), metadata, ..Held::default() });
            stored(&hex(&md5))
        }
        ("POST", _, Some(_)) => {
            let held = objects.entry(key).or_default();
            let all: Vec<u8> = held.parts.values().flatten().copied().collect();
            held.etag = format!("{}-{}", hex(&Md5::digest(all)), held.parts.len());
            xml(&format!("<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>", held.etag))
        }
        ("POST", ..) if request.query("uploads").is_some() => {
            objects.insert(key, Held { metadata: metadata_of(request), ..Held::default() });
            xml("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        }
        ("HEAD", ..) => match objects.get(&key).filter(|held| !held.etag.is_empty()) {
            Some(held) => {
                let mut reply = stored(&held.etag);
                reply.headers.push(("Content-Length".into(), held.size.to_string()));
                reply.headers.push(("Last-Modified".into(), "Sun, 22 Nov 2026 00:00:00 GMT".into()));
                reply.headers.extend(held.metadata.iter().cloned());
                reply
            }
            None => Reply::new(404, ""),
        },
        ("DELETE", ..) => {
            objects.remove(&key);
            Reply::new(204, "")
        }
        ("GET", ..) if ["list-type", "prefix", "delimiter"].iter().any(|name| request.query(name).is_some()) => {
            xml("<ListBucketResult></ListBucketResult>")
        }
        _ => failed(501, "NotImplemented"),
    }
}

fn metadata_of(request: &Request) -> Vec<(String, String)> {
    let is_metadata = |name: &str| name.to_ascii_lowercase().starts_with("x-amz-meta-");
    request.headers.iter().filter(|(name, _)| is_metadata(name)).cloned().collect()
}

fn stored(etag: &str) -> Reply {
    Reply { headers: vec![("ETag".into(), format!("\"{etag}\""))], ..Reply::new(200, "") }
}

fn xml(text: &str) -> Reply {
    Reply::new(200, text)
}

fn failed(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! How much memory the agent takes where there is very much: a hundred thousand small files, and a sparse file of 20 GiB
//! that a sink takes in the place of a store, because a store would write it to disk twice.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hostwright_tests::engines::{S3sFs, s3s};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::http_server::{HttpServer, Reply, Request};
use md5::{Digest as _, Md5};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{LIMIT, Work, produce};
use crate::Settings;
use crate::usage::peak_resident;

/// Up to here the sink looks at what it gets.
const LOOKED_AT: usize = 1 << 20;

/// The most memory that many files take, in MB.
pub fn many(settings: &Settings, files: u64) -> Result<f64> {
    let source = tempfile::tempdir_in(&settings.folder)?;
    produce(source.path(), &Work { name: "many", files, size: 1_000 })?;
    let store = S3sFs::start()?;
    store.create_bucket("ours")?;
    peak(&store.endpoint(), source.path(), files)
}

/// The most memory that a file of so many bytes takes, in MB.
pub fn huge(settings: &Settings, size: u64) -> Result<f64> {
    let source = tempfile::tempdir_in(&settings.folder)?;
    let objects = Mutex::new(BTreeMap::new());
    let sink =
        HttpServer::start(move |request| answer(request, &mut objects.lock().unwrap_or_else(PoisonError::into_inner)))?;
    fs::File::create(source.path().join("sparse"))?.set_len(size)?;
    peak(&sink.url(), source.path(), 1)
}

fn peak(endpoint: &str, source: &Path, files: u64) -> Result<f64> {
    let config = format!(
        "buckets:\n  b: {{endpoint: '{endpoint}', bucket: ours, credentials: {{env_prefix: BENCH}}}}\n\
         products:\n  p: {{watch: {}, bucket: b, key: '{{path}}', quiet: 100ms}}\n",
        source.display()
    );
    let keys = [("BENCH_ACCESS_KEY", s3s::ACCESS_KEY), ("BENCH_SECRET_KEY", s3s::SECRET_KEY)];
    let agent = AgentProcess::start_with_env(&config, &keys)?;
    agent.wait_status("all is uploaded", LIMIT, |status| {
        status["duties"]["products"]["details"]["p"]["uploaded"] == files
    })?;
    peak_resident(agent.pid())
}

/// Size and ETag of objects, and the MD5s of parts under the keys of their uploads.
#[derive(Debug, Default)]
struct Held {
    size: usize,
    etag: String,
    parts: BTreeMap<u32, [u8; 16]>,
}

/// As much of an S3 API as an upload needs. It keeps no content, and believes the MD5s of parts.
fn answer(request: &Request, objects: &mut BTreeMap<String, Held>) -> Reply {
    let told = request.header("content-md5").and_then(|md5| BASE64.decode(md5).ok());
    let told = told.and_then(|md5| <[u8; 16]>::try_from(md5).ok());
    let key = request.path.clone();
    match (request.method.as_str(), request.query("partNumber"), request.query("uploadId")) {
        ("PUT", Some(number), Some(_)) => {
            let held = objects.entry(key).or_default();
            held.size += request.body.len();
            held.parts.insert(number.parse().unwrap_or_default(), told.unwrap_or_default());
            stored(&hex(&told.unwrap_or_default()))
        }
        ("PUT", ..) if request.query.iter().all(|(name, _)| name == "x-id") && request.body.len() <= LOOKED_AT => {
            let md5: [u8; 16] = Md5::digest(&request.body).into();
            if told.is_some_and(|told| told != md5) {
                return failed(400, "BadDigest");
            }
            objects.insert(key, Held { size: request.body.len(), etag: hex(&md5), ..Held::default() });
            stored(&hex(&md5))
        }
        ("POST", _, Some(_)) => {
            let held = objects.entry(key).or_default();
            let all: Vec<u8> = held.parts.values().flatten().copied().collect();
            held.etag = format!("{}-{}", hex(&Md5::digest(all)), held.parts.len());
            xml(&format!("<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>", held.etag))
        }
        ("POST", ..) if request.query("uploads").is_some() => {
            xml("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        }
        ("HEAD", ..) => match objects.get(&key).filter(|held| !held.etag.is_empty()) {
            Some(held) => {
                let mut reply = stored(&held.etag);
                reply.headers.push(("Content-Length".into(), held.size.to_string()));
                reply
            }
            None => Reply::new(404, ""),
        },
        ("DELETE", ..) => {
            objects.remove(&key);
            Reply::new(204, "")
        }
        ("GET", ..) if request.query("list-type").is_some() => xml("<ListBucketResult></ListBucketResult>"),
        _ => failed(501, "NotImplemented"),
    }
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

//! A fake: a store in memory that does with checksums, tokens and errors what AWS documents of S3, because no store that
//! runs here checks CRC64NVME of parts. It checks no signatures. What it is told to fail, it fails.

/// Uploads in parts.
mod uploads;
/// Requests and answers.
mod wire;

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, checksum};
use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::receivers::http_server::unescaped;
use uploads::{Upload, complete, create, list_parts, list_uploads, upload_part};
use wire::{Answer, Request, between, error, plain, read, xml};

const SMALLEST_PART: usize = 5 << 20;
const CRC64: &str = "x-amz-checksum-crc64nvme";
const SHA256: &str = "x-amz-checksum-sha256";
const SSE: &str = "x-amz-server-side-encryption";
const TOKEN: &str = "x-amz-security-token";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Status and code; nothing is done.
    Refused(u16, &'static str),
    /// All is done, and the answer is this.
    DoneAnd(u16, &'static str),
    /// 200, and an error in the body.
    ErrorInBody(&'static str),
    /// One byte of the body is another one when it arrives.
    Damaged,
}

/// How a store tells ETags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Etags {
    #[default]
    Quoted,
    Unquoted,
    /// As one of an object in parts, although one request carried it.
    OfOnePart,
}

/// The store.
#[derive(Debug)]
pub struct AwsLike {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Upload>,
    begun: u64,
    /// Of operations, by S3's names.
    mishaps: Vec<(&'static str, Mishap)>,
    /// The session's token, where one is wanted.
    token: Option<String>,
    /// Whether the bucket has a default of SSE-KMS.
    kms: bool,
    denied: Vec<&'static str>,
    /// Whether it knows no checksum but MD5.
    md5_alone: bool,
    /// Whether storage classes are taken and forgotten.
    one_class: bool,
    /// So many parts, or uploads, are told at a time.
    page: Option<usize>,
    /// How ETags are told.
    etags: Etags,
    requests: Vec<String>,
    heads: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Stored {
    bytes: Vec<u8>,
    etag: String,
    /// What HEAD tells besides.
    headers: Vec<(String, String)>,
    crc64: Option<String>,
    tags: String,
}

impl AwsLike {
    /// With one bucket, "products".
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, state) = (listener.local_addr()?, Arc::<Mutex<State>>::default());
        let shared = state.clone();
        thread::spawn(move || {
            // Ends with the test's process.
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(&client, &state));
            }
        });
        Ok(Self { address, state })
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the next requests of an operation (`PutObject`, `UploadPart`…) go so, one after the other.
    pub fn fail(&self, operation: &'static str, mishaps: &[Mishap]) {
        locked(&self.state).mishaps.extend(mishaps.iter().map(|mishap| (operation, *mishap)));
    }

    /// Mishaps that nothing has met yet.
    pub fn left(&self) -> usize {
        locked(&self.state).mishaps.len()
    }

    /// From now on another session's token is wanted.
    pub fn wants_token(&self, token: &str) {
        locked(&self.state).token = Some(token.to_owned());
    }

    /// From now on objects are encrypted under a key of a key management service: their ETags are no MD5s.
    pub fn encrypts(&self) {
        locked(&self.state).kms = true;
    }

    /// From now on all objects are of one storage class, whatever it is told.
    pub fn has_one_class(&self) {
        locked(&self.state).one_class = true;
    }

    /// From now on it looks at no checksum but MD5, and tells none.
    pub fn knows_md5_alone(&self) {
        locked(&self.state).md5_alone = true;
    }

    /// From now on nobody has the right to these operations.
    pub fn deny(&self, operations: &[&'static str]) {
        locked(&self.state).denied = operations.to_vec();
    }

    /// From now on it tells so many parts, or uploads, at a time.
    pub fn tells_at_a_time(&self, page: usize) {
        locked(&self.state).page = Some(page);
    }

    pub fn tells_etags(&self, etags: Etags) {
        locked(&self.state).etags = etags;
    }

    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        locked(&self.state).objects.get(key).map(|stored| stored.bytes.clone())
    }

    pub fn keys(&self) -> Vec<String> {
        locked(&self.state).objects.keys().cloned().collect()
    }

    pub fn put(&self, key: &str, bytes: &[u8]) {
        let stored = stored(bytes.to_vec(), &BTreeMap::new(), false);
        locked(&self.state).objects.insert(key.to_owned(), stored);
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub fn unfinished(&self) -> usize {
        locked(&self.state).uploads.len()
    }

    /// The operations since this was asked last.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.state).requests)
    }

    /// The headers of all requests that had one of this name, with their operations.
    pub fn told(&self, name: &str) -> Vec<String> {
        let state = locked(&self.state);
        state.heads.iter().filter(|head| head.contains(&format!(" {name}:"))).cloned().collect()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(client);
    while let Ok(Some(mut request)) = read(&mut reader, client) {
        if locked(state).md5_alone {
            request.headers.retain(|name, _| !name.starts_with("x-amz-checksum"));
        }
        let answer = answer(&request, state);
        let bytes = answer.raw.unwrap_or_else(|| answer.body.into_bytes());
        let length = if request.method == "HEAD" { None } else { Some(bytes.len()) };
        let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        head.push_str(&format!("date: {date}\r\nx-amz-request-id: fake\r\n"));
        for (name, value) in answer.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        let body: &[u8] = if length.is_some() { &bytes } else { &[] };
        if { client }.write_all(head.as_bytes()).and_then(|()| { client }.write_all(body)).is_err() {
            return;
        }
    }
}

fn answer(request: &Request, state: &Mutex<State>) -> Answer {
    let mut state = locked(state);
    let operation = request.operation();
    state.requests.push(format!("{operation} {}", request.key));
    let headers: Vec<_> = request.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
    state.heads.push(format!("{operation}{}", headers.concat()));
    if state.token.as_deref().is_some_and(|token| request.header(TOKEN) != Some(token)) {
        return error(400, "ExpiredToken");
    }
    if state.denied.contains(&operation) {
        return error(403, "AccessDenied");
    }
    let at = state.mishaps.iter().position(|(of, _)| *of == operation);
    match at.map(|at| state.mishaps.remove(at).1) {
        None => done(operation, request, &mut state),
        Some(Mishap::Refused(status, code)) => error(status, code),
        Some(Mishap::ErrorInBody(code)) => Answer { status: 200, ..error(500, code) },
        Some(Mishap::DoneAnd(status, code)) => {
            done(operation, request, &mut state);
            error(status, code)
        }
        Some(Mishap::Damaged) => {
            let mut body = request.body.clone();
            if let Some(byte) = body.first_mut() {
                *byte ^= 1;
            }
            let (method, key) = (request.method.clone(), request.key.clone());
            let (query, headers) = (request.query.clone(), request.headers.clone());
            done(operation, &Request { method, key, query, headers, body }, &mut state)
        }
    }
}

fn done(operation: &str, request: &Request, state: &mut State) -> Answer {
    match operation {
        "PutObject" => put_object(request, state),
        "CreateMultipartUpload" => create(request, state),
        "UploadPart" => upload_part(request, state),
        "CompleteMultipartUpload" => complete(request, state),
        "AbortMultipartUpload" => match state.uploads.remove(&request.query["uploadId"]) {
            Some(_) => plain(204, Vec::new()),
            None => error(404, "NoSuchUpload"),
        },
        "ListParts" => list_parts(request, state),
        "ListMultipartUploads" => list_uploads(request, state),
        "ListObjectsV2" => list(request, state),
        "DeleteObject" => {
            state.objects.remove(&request.key);
            plain(204, Vec::new())
        }
        "DeleteObjects" => {
            let body = String::from_utf8_lossy(&request.body);
            for key in between(&body, "Key") {
                state.objects.remove(&key);
            }
            xml("<DeleteResult></DeleteResult>")
        }
        "GetObjectTagging" => state.objects.get(&request.key).map_or_else(|| error(404, "NoSuchKey"), tagging),
        "HeadObject" | "GetObject" => match state.objects.get(&request.key) {
            Some(stored) => tell(request, stored, (state.etags, state.one_class)),
            None => error(404, "NoSuchKey"),
        },
        _ => error(404, "ObjectLockConfigurationNotFoundError"),
    }
}

/// What a body is, if its checksums are those that came with it.
fn checked(request: &Request) -> Result<(), Answer> {
    let body = &request.body;
    let right = |name: &str, sum: &dyn Fn() -> String| request.header(name).is_none_or(|told| told == sum());
    let all = right("content-md5", &|| BASE64.encode(Md5::digest(body)))
        && right(SHA256, &|| BASE64.encode(Sha256::digest(body)))
        && right(CRC64, &|| crc64_of(body));
    if all { Ok(()) } else { Err(error(400, "BadDigest")) }
}

fn crc64_of(bytes: &[u8]) -> String {
    BASE64.encode(checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stored(bytes: Vec<u8>, headers: &BTreeMap<String, String>, kms: bool) -> Stored {
    let mut etag = hex(&Md5::digest(&bytes));
    let is_told =
        |name: &str| name.starts_with("x-amz-meta-") || ["content-type", "x-amz-storage-class"].contains(&name);
    // The key itself is told to nobody.
    let is_told = |name: &str| is_told(name) || name.starts_with(SSE) && !name.ends_with("customer-key");
    let mut told: Vec<_> = headers.iter().filter(|(n, _)| is_told(n)).map(|(n, v)| (n.clone(), v.clone())).collect();
    let by_key = headers.keys().any(|name| name.starts_with(SSE) && name != SSE)
        || headers.get(SSE).is_some_and(|algorithm| algorithm == "aws:kms");
    if by_key {
        etag = hex(&Md5::digest(&etag));
    } else if kms {
        etag = hex(&Md5::digest(&etag));
        told.push(("x-amz-server-side-encryption".into(), "aws:kms".into()));
    }
    let tags = headers.get("x-amz-tagging").cloned().unwrap_or_default();
    // S3 computes one of its own where none is told.
    let crc64 = (!headers.contains_key(SHA256)).then(|| crc64_of(&bytes));
    Stored { etag, headers: told, crc64, tags, bytes }
}

fn put_object(request: &Request, state: &mut State) -> Answer {
    if let Err(refusal) = checked(request) {
        return refusal;
    }
    if request.header("if-none-match") == Some("*") && state.objects.contains_key(&request.key) {
        return error(412, "PreconditionFailed");
    }
    let stored = stored(request.body.clone(), &request.headers, state.kms);
    let mut headers = vec![("etag".to_owned(), told_etag(&stored.etag, state.etags))];
    headers.extend(stored.crc64.clone().filter(|_| !state.md5_alone).map(|crc64| (CRC64.to_owned(), crc64)));
    headers.extend(request.header(SHA256).map(|sha256| (SHA256.to_owned(), sha256.to_owned())));
    headers.extend(stored.headers.iter().filter(|(name, _)| name.starts_with(SSE)).cloned());
    state.objects.insert(request.key.clone(), stored);
    plain(200, headers)
}

fn list(request: &Request, state: &State) -> Answer {
    let prefix = request.query.get("prefix").cloned().unwrap_or_default();
    let all = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    let all = all.map(|(key, object)| {
        let (etag, size) = (&object.etag, object.bytes.len());
        format!("<Contents><Key>{key}</Key><ETag>\"{etag}\"</ETag><Size>{size}</Size></Contents>")
    });
    xml(&format!("<ListBucketResult>{}</ListBucketResult>", all.collect::<String>()))
}

fn tagging(object: &Stored) -> Answer {
    let pairs = object.tags.split('&').filter_map(|pair| pair.split_once('='));
    let tags = pairs
        .map(|(name, value)| format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", unescaped(name), unescaped(value)));
    xml(&format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>()))
}

fn told_etag(etag: &str, etags: Etags) -> String {
    match etags {
        Etags::Unquoted => etag.to_owned(),
        Etags::OfOnePart if !etag.contains('-') => format!("\"{}-1\"", hex(&Md5::digest(etag))),
        _ => format!("\"{etag}\""),
    }
}

fn tell(request: &Request, object: &Stored, (etags, one_class): (Etags, bool)) -> Answer {
    let mut headers = object.headers.clone();
    headers.retain(|(name, value)| name != "x-amz-storage-class" || !one_class && value != "STANDARD");
    headers.push(("etag".into(), told_etag(&object.etag, etags)));
    if request.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"))
        && let Some(crc64) = &object.crc64
    {
        headers.extend([(CRC64.into(), crc64.clone()), ("x-amz-checksum-type".into(), "FULL_OBJECT".into())]);
    }
    if request.method == "HEAD" {
        headers.push(("content-length".into(), object.bytes.len().to_string()));
    }
    Answer { raw: Some(object.bytes.clone()), ..plain(200, headers) }
}

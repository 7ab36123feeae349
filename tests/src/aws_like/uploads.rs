use std::collections::BTreeMap;

use md5::{Digest as _, Md5};

use super::wire::{Answer, Request, between, error, plain, xml};
use super::{CRC64, SMALLEST_PART, SSE, State, Stored, checked, crc64_of, hex, stored, told_etag};

#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) by_crc64: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) parts: BTreeMap<u32, Stored>,
}

pub(super) fn create(request: &Request, state: &mut State) -> Answer {
    let (key, by_crc64) = (request.key.clone(), request.header("x-amz-checksum-algorithm") == Some("CRC64NVME"));
    if by_crc64 && request.header("x-amz-checksum-type") != Some("FULL_OBJECT") {
        return error(400, "InvalidRequest");
    }
    state.begun += 1;
    let id = format!("upload-{}", state.begun);
    let headers = stored(Vec::new(), &request.headers, state.kms).headers;
    let text = format!(
        "<InitiateMultipartUploadResult><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
    );
    state.uploads.insert(id, Upload { key, by_crc64, headers, ..Upload::default() });
    xml(&text)
}

pub(super) fn upload_part(request: &Request, state: &mut State) -> Answer {
    let (kms, etags) = (state.kms, state.etags);
    let Some(upload) = state.uploads.get_mut(&request.query["uploadId"]) else { return error(404, "NoSuchUpload") };
    if request.header(CRC64).is_some() != upload.by_crc64 {
        // "Checksum Type mismatch occurred".
        return error(400, "InvalidRequest");
    }
    if let Err(refusal) = checked(request) {
        return refusal;
    }
    let part = stored(request.body.clone(), &request.headers, kms);
    let mut headers = vec![("etag".to_owned(), told_etag(&part.etag, etags))];
    headers.extend(part.headers.iter().filter(|(name, _)| name.starts_with(SSE)).cloned());
    headers.extend(part.crc64.clone().filter(|_| upload.by_crc64).map(|crc64| (CRC64.to_owned(), crc64)));
    upload.parts.insert(request.query["partNumber"].parse().unwrap_or_default(), part);
    plain(200, headers)
}

pub(super) fn complete(request: &Request, state: &mut State) -> Answer {
    let id = &request.query["uploadId"];
    let Some(upload) = state.uploads.get(id) else { return error(404, "NoSuchUpload") };
    let body = String::from_utf8_lossy(&request.body);
    let (mut bytes, mut md5s) = (Vec::new(), Vec::new());
    let told = between(&body, "Part");
    for (index, part) in told.iter().enumerate() {
        let only = |name: &str| between(part, name).pop().unwrap_or_default();
        let held = upload.parts.get(&only("PartNumber").parse().unwrap_or_default());
        let etag = only("ETag").replace("&quot;", "").replace('"', "");
        let Some(held) = held.filter(|held| told_etag(&held.etag, state.etags).replace('"', "") == etag) else {
            return error(400, "InvalidPart");
        };
        if upload.by_crc64 && Some(only("ChecksumCRC64NVME")) != held.crc64 {
            return error(400, "InvalidPart");
        }
        if held.bytes.len() < SMALLEST_PART && index + 1 < told.len() {
            return error(400, "EntityTooSmall");
        }
        md5s.extend(Md5::digest(&held.bytes));
        bytes.extend(&held.bytes);
    }
    let crc64 = crc64_of(&bytes);
    if upload.by_crc64 && request.header(CRC64).is_some_and(|told| told != crc64) {
        return error(400, "BadDigest");
    }
    if request.header("if-none-match") == Some("*") && state.objects.contains_key(&upload.key) {
        return error(412, "PreconditionFailed");
    }
    let Some(upload) = state.uploads.remove(id) else { return error(404, "NoSuchUpload") };
    let etag = format!("{}-{}", hex(&Md5::digest(&md5s)), told.len());
    let encryption: Vec<_> = upload.headers.iter().filter(|(name, _)| name == SSE).cloned().collect();
    let told_crc64 = upload.by_crc64.then(|| crc64.clone());
    let object = Stored { bytes, etag: etag.clone(), headers: upload.headers, crc64: told_crc64, tags: String::new() };
    state.objects.insert(upload.key, object);
    let crc64 = if state.md5_alone { String::new() } else { format!("<ChecksumCRC64NVME>{crc64}</ChecksumCRC64NVME>") };
    let mut answer =
        xml(&format!("<CompleteMultipartUploadResult><ETag>\"{etag}\"</ETag>{crc64}</CompleteMultipartUploadResult>"));
    answer.headers.extend(encryption);
    answer
}

pub(super) fn list_parts(request: &Request, state: &State) -> Answer {
    let Some(upload) = state.uploads.get(&request.query["uploadId"]) else { return error(404, "NoSuchUpload") };
    let after = request.query.get("part-number-marker").and_then(|after| after.parse().ok()).unwrap_or(0);
    let all: Vec<_> = upload.parts.range(after + 1..).collect();
    let (told, next) = page_of(&all, state);
    let next = next.map(|(number, _)| format!("<NextPartNumberMarker>{number}</NextPartNumberMarker>"));
    let (truncated, next) = (next.is_some(), next.unwrap_or_default());
    let parts = told.iter().map(|(number, part)| {
        let crc64 = part.crc64.as_ref().filter(|_| upload.by_crc64);
        let crc64 = crc64.map(|crc64| format!("<ChecksumCRC64NVME>{crc64}</ChecksumCRC64NVME>")).unwrap_or_default();
        let (etag, size) = (told_etag(&part.etag, state.etags), part.bytes.len());
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><Size>{size}</Size>{crc64}</Part>")
    });
    let parts: String = parts.collect();
    xml(&format!("<ListPartsResult><IsTruncated>{truncated}</IsTruncated>{next}{parts}</ListPartsResult>"))
}

pub(super) fn list_uploads(request: &Request, state: &State) -> Answer {
    let prefix = request.query.get("prefix").cloned().unwrap_or_default();
    let marker = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    let after = (marker("key-marker"), marker("upload-id-marker"));
    let all = state.uploads.iter().filter(|(_, upload)| upload.key.starts_with(&prefix));
    let mut all: Vec<_> = all.filter(|(id, upload)| (&upload.key, *id) > (&after.0, &after.1)).collect();
    all.sort_by_key(|(id, upload)| (&upload.key, *id));
    let (told, next) = page_of(&all, state);
    let next = next.map(|(id, upload)| {
        let key = &upload.key;
        format!("<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>")
    });
    let (truncated, next) = (next.is_some(), next.unwrap_or_default());
    let now = jiff::Timestamp::now();
    let all = told.iter().map(|(id, upload)| {
        let key = &upload.key;
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{now}</Initiated></Upload>")
    });
    let all: String = all.collect();
    xml(&format!(
        "<ListMultipartUploadsResult><IsTruncated>{truncated}</IsTruncated>{next}{all}</ListMultipartUploadsResult>"
    ))
}

/// What is told at a time, and the last of it where there is more.
fn page_of<'a, T>(all: &'a [T], state: &State) -> (&'a [T], Option<&'a T>) {
    let told = &all[..all.len().min(state.page.unwrap_or(1000))];
    (told, told.last().filter(|_| told.len() < all.len()))
}

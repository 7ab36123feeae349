use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result};

use crate::receivers::http_server::unescaped;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) key: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) raw: Option<Vec<u8>>,
}

pub(super) fn read(reader: &mut BufReader<&TcpStream>, mut client: &TcpStream) -> Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines.first().context("a request")?.split(' ');
    let (method, target) = (first.next().context("a method")?.to_owned(), first.next().context("a path")?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (n.to_owned(), unescaped(v)));
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    if headers.contains_key("expect") {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, key: unescaped(key), query: query.collect(), headers, body }))
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn operation(&self) -> &'static str {
        let asks = |name: &str| self.query.contains_key(name);
        match (self.method.as_str(), self.key.is_empty()) {
            ("PUT", _) if asks("partNumber") => "UploadPart",
            ("PUT", _) => "PutObject",
            ("POST", _) if asks("uploads") => "CreateMultipartUpload",
            ("POST", _) if asks("uploadId") => "CompleteMultipartUpload",
            ("POST", _) => "DeleteObjects",
            ("DELETE", _) if asks("uploadId") => "AbortMultipartUpload",
            ("DELETE", _) => "DeleteObject",
            ("HEAD", _) => "HeadObject",
            (_, true) if asks("uploads") => "ListMultipartUploads",
            (_, true) if asks("object-lock") => "GetObjectLockConfiguration",
            (_, true) => "ListObjectsV2",
            _ if asks("uploadId") => "ListParts",
            _ if asks("tagging") => "GetObjectTagging",
            _ => "GetObject",
        }
    }
}

/// What stands between all pairs of tags of this name.
pub(super) fn between(text: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let pieces = text.split(&open).skip(1);
    pieces.filter_map(|piece| piece.split_once(&close)).map(|(inner, _)| inner.to_owned()).collect()
}

pub(super) fn plain(status: u16, headers: Vec<(String, String)>) -> Answer {
    Answer { status, headers, body: String::new(), raw: None }
}

pub(super) fn xml(body: &str) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/xml".to_owned())];
    Answer { status: 200, headers, body: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}"), raw: None }
}

pub(super) fn error(status: u16, code: &str) -> Answer {
    let mut answer = xml(&format!("<Error><Code>{code}</Code><Message>as it was told</Message></Error>"));
    if status == 301 {
        answer.headers.push(("x-amz-bucket-region".into(), "eu-west-3".into()));
    }
    Answer { status, ..answer }
}

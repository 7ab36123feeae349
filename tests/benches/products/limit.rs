//! What the store itself can take: files sent by curl, which reads them once, computes no checksum and asks nothing.

use anyhow::{Context as _, Result, ensure};
use hostwright_tests::engines::{S3sFs, s3s};
use md5::{Digest as _, Md5};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::Work;

/// As large as the agent's.
const PART: u64 = 6 << 20;
const AT_ONCE: &str = "4";
const FILES_AT_ONCE: &str = "16";

/// Seconds for files of one request each.
pub(super) fn of_files(store: &S3sFs, folder: &Path, (source, work): (&Path, &Work)) -> Result<f64> {
    let files = (0..work.files).map(|number| {
        let file = source.join(format!("{:03}/product-{number:06}", number / 1000));
        (file, format!("{}/limit/{number}", store.endpoint()))
    });
    let begun = Instant::now();
    send(folder, files, FILES_AT_ONCE)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Seconds for one file in parts, and for the store to put them together.
pub(super) fn of_parts(store: &S3sFs, folder: &Path, source: &Path) -> Result<f64> {
    let parts = tempfile::tempdir_in(folder)?;
    let (files, completion) = split(&source.join("000/product-000000"), parts.path())?;
    let object = format!("{}/limit/in-parts", store.endpoint());
    let begun = Instant::now();
    let answer = curl(&["--request", "POST"], &format!("{object}?uploads="))?;
    let upload = answer.split_once("<UploadId>").and_then(|(_, rest)| rest.split_once("</UploadId>"));
    let (upload, _) = upload.context("the store gives an id")?;
    let urls = (1..).map(|number| format!("{object}?partNumber={number}&uploadId={upload}"));
    send(folder, files.into_iter().zip(urls), AT_ONCE)?;
    let body = format!("@{}", completion.display());
    let answer = curl(&["--request", "POST", "--data-binary", &body], &format!("{object}?uploadId={upload}"))?;
    ensure!(answer.contains("<ETag>"), "{answer}");
    Ok(begun.elapsed().as_secs_f64())
}

/// A file's parts, and what puts them together.
fn split(file: &Path, into: &Path) -> Result<(Vec<PathBuf>, PathBuf)> {
    let mut file = fs::File::open(file)?;
    let (mut parts, mut list) = (Vec::new(), String::new());
    loop {
        let mut bytes = Vec::new();
        file.by_ref().take(PART).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        let md5: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(into.join(parts.len().to_string()));
        fs::write(&parts[parts.len() - 1], bytes)?;
        list.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>\"{md5}\"</ETag></Part>", parts.len()));
    }
    let completion = into.join("completion");
    fs::write(&completion, format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>"))?;
    Ok((parts, completion))
}

fn send(folder: &Path, files: impl Iterator<Item = (PathBuf, String)>, at_once: &str) -> Result<()> {
    let transfers = files.map(|(file, url)| format!("upload-file = \"{}\"\nurl = \"{url}\"\n", file.display()));
    let list = folder.join("transfers");
    fs::write(&list, transfers.collect::<String>())?;
    let list = list.display().to_string();
    curl(&["--parallel", "--parallel-max", at_once, "--config", &list], "").map(drop)
}

fn curl(arguments: &[&str], url: &str) -> Result<String> {
    let keys = format!("{}:{}", s3s::ACCESS_KEY, s3s::SECRET_KEY);
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &keys]);
    command.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]).args(arguments);
    let output = command.args(Some(url).filter(|url| !url.is_empty())).output()?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

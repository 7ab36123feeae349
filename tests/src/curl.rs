//! curl, which speaks TLS, HTTP/2 and compression.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Longer than any answer takes.
const TIMEOUT_SECONDS: &str = "20";

/// The last answer that curl got.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The header's value; names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Asks with these arguments; an error is what curl says where it got no answer.
pub fn curl(arguments: &[&str]) -> Result<Answer> {
    let folder = tempfile::tempdir()?;
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--globoff", "--max-time", TIMEOUT_SECONDS, "--noproxy", "*"])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(["--write-out", "%{http_code} %{http_version}"])
        .args(arguments)
        .output()
        .context("starting curl (tests/setup.sh installs it)")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let said = String::from_utf8(output.stdout)?;
    let (status, version) = said.split_once(' ').context("curl says no status")?;
    let headers = fs::read_to_string(&head)?;
    let headers = headers.lines().filter_map(|line| line.split_once(':'));
    Ok(Answer {
        status: status.parse()?,
        version: version.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect(),
        // Without a body curl makes no file.
        body: fs::read(&body).unwrap_or_default(),
    })
}

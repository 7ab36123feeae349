//! s3s-fs: an S3 API over a folder, with the semantics of AWS that other stores lack (checksums, `If-None-Match`).

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::port::Port;
use crate::server::Server;

const VERSION: &str = "0.14.1";
const START_TIMEOUT: Duration = Duration::from_secs(20);
pub const ACCESS_KEY: &str = "s3s-access";
pub const SECRET_KEY: &str = "s3s-secret";

/// A store that answers at `endpoint` (path style) to `ACCESS_KEY` and `SECRET_KEY`.
#[derive(Debug)]
pub struct S3sFs {
    _server: Server,
    port: Port,
    folder: TempDir,
}

impl S3sFs {
    pub fn start() -> Result<Self> {
        let (port, folder) = (Port::reserve()?, tempfile::tempdir_in("/var/tmp")?);
        fs::create_dir(folder.path().join("data"))?;
        let mut command = Command::new(program()?);
        command.args(["--host", "127.0.0.1", "--port", &port.number().to_string()]);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).arg(folder.path().join("data"));
        command.env("RUST_LOG", "warn");
        let mut server = Server::start(&command, &folder.path().join("s3s.log"))?;
        let address = port.address();
        let listening = || TcpStream::connect(address).with_context(|| format!("connecting to {address}"));
        server.wait_until("s3s-fs listens", START_TIMEOUT, listening)?;
        Ok(Self { _server: server, port, folder })
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    pub fn create_bucket(&self, bucket: &str) -> Result<()> {
        Ok(fs::create_dir(self.folder.path().join("data").join(bucket))?)
    }
}

/// The program, which is built once beside the tests' own.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Cargo marks its target folder with this file.
    let target = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let target = target.context("the tests' own folder has no target folder above it")?;
    let root = target.join("engines/s3s");
    fs::create_dir_all(&root)?;
    let program = root.join("bin/s3s-fs");
    // Whoever comes second waits for the first.
    let lock = File::options().create(true).append(true).open(root.join("lock"))?;
    lock.lock()?;
    if program.exists() {
        return Ok(program);
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["install", &format!("s3s-fs@{VERSION}"), "--features", "binary", "--locked", "--quiet"]);
    cargo.arg("--root").arg(&root).env("CARGO_TARGET_DIR", root.join("target"));
    let output = cargo.output().context("running cargo install")?;
    ensure!(output.status.success(), "building s3s-fs: {}", String::from_utf8_lossy(&output.stderr));
    fs::remove_dir_all(root.join("target"))?;
    Ok(program)
}

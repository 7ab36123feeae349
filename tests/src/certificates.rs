//! Certificates for servers on loopback and their clients.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// An authority, and a server and a client certificate of it, made by openssl.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        openssl(
            folder.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        )?;
        for name in ["server", "client"] {
            openssl(
                folder.path(),
                &format!(
                    "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
                ),
            )?;
            fs::write(folder.path().join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")?;
            openssl(
                folder.path(),
                &format!(
                    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"
                ),
            )?;
        }
        Ok(Self { folder })
    }

    /// Adds two clients that OpenSSL makes where nobody asks for more: `bare`, which the authority signs without any
    /// extension, and `own`, which signs itself.
    pub fn add_plain_clients(&self) -> Result<()> {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=client";
        openssl(self.folder.path(), &format!("req {key} -keyout bare.key -out bare.csr"))?;
        openssl(
            self.folder.path(),
            "x509 -req -in bare.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out bare.pem",
        )?;
        openssl(self.folder.path(), &format!("req -x509 {key} -days 2 -keyout own.key -out own.pem"))
    }

    /// `ca`, `server` or `client`, with `.pem` or `.key`.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output()?;
    ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

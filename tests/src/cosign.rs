//! Signatures as cosign stores them, made by openssl: with a key, or with a certificate of an authority and an entry of a
//! log that are made here from Sigstore's documents. No part of Sigstore itself runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::Registry;
use crate::engines::registry::sha256;

const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Who vouches for signers.
pub const ISSUER: &str = "https://id.example.org";
/// Who is to sign.
pub const SUBJECT: &str = "builder@example.org";

/// Signs images.
#[derive(Debug)]
pub struct Signer {
    folder: TempDir,
    /// Who gave it a certificate, and the log that it writes to.
    authority: Option<Arc<TempDir>>,
}

/// An authority for signers' certificates, and a log.
#[derive(Debug)]
pub struct Authority {
    folder: Arc<TempDir>,
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("openssl").current_dir(folder).args(arguments).output()?;
    ensure!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn words(folder: &Path, arguments: &str) -> Result<Vec<u8>> {
    openssl(folder, &arguments.split(' ').collect::<Vec<_>>())
}

fn sign(folder: &Path, message: &[u8]) -> Result<String> {
    fs::write(folder.join("message"), message)?;
    Ok(STANDARD.encode(words(folder, "dgst -sha256 -sign key message")?))
}

impl Authority {
    /// The files `authorities.pem` and `log.pub` say who is to be believed.
    pub fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = folder.path();
        words(
            made,
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 2 -subj /O=test/CN=authority -keyout ca.key -out authorities.pem",
        )?;
        words(made, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key")?;
        words(made, "pkey -in key -pubout -out log.pub")?;
        Ok(Self { folder: Arc::new(folder) })
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Somebody who has a certificate.
    pub fn signer(&self, subject: &str) -> Result<Signer> {
        let signer = Signer { authority: Some(self.folder.clone()), ..Signer::make()? };
        let (folder, authority) = (signer.folder.path(), self.folder.path());
        let extensions = format!(
            "subjectAltName=critical,email:{subject}\nextendedKeyUsage=codeSigning\nbasicConstraints=critical,CA:FALSE\n\
             1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:{ISSUER}\n"
        );
        fs::write(folder.join("extensions"), extensions)?;
        words(folder, "req -new -key key -subj / -out request")?;
        let issuer =
            [authority.join("authorities.pem"), authority.join("ca.key")].map(|path| path.display().to_string());
        let sign = ["x509", "-req", "-in", "request", "-days", "1", "-extfile", "extensions", "-out", "certificate"];
        openssl(folder, &[&sign[..], &["-CA", &issuer[0], "-CAkey", &issuer[1], "-CAcreateserial"]].concat())?;
        Ok(signer)
    }
}

impl Signer {
    /// One with a key alone.
    pub fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        words(folder.path(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key")?;
        words(folder.path(), "pkey -in key -pubout -out key.pub")?;
        Ok(Self { folder, authority: None })
    }

    pub fn public(&self) -> String {
        self.path("key.pub").display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificate(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("certificate"))?)
    }

    /// What the log answers when an entry is added: its promise, and what it promises.
    fn entry(&self, authority: &Path, body: &Value) -> Result<(String, Value)> {
        words(authority, "pkey -pubin -in log.pub -outform DER -out log.der")?;
        let log = sha256(&fs::read(authority.join("log.der"))?)?;
        let body = STANDARD.encode(body.to_string());
        let time = Timestamp::now().as_second();
        // Canonical JSON: sorted, without spaces.
        let promised = format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{log}","logIndex":7}}"#);
        let promise = sign(authority, promised.as_bytes())?;
        Ok((promise, serde_json::from_str(&promised)?))
    }

    /// As cosign before version 3 stores it.
    pub fn by_tag(&self, registry: &Registry, repository: &str, digest: &str, of: &str) -> Result<()> {
        let payload =
            json!({"critical": {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": of},
            "type": "cosign container image signature"}, "optional": null})
            .to_string();
        let signature = sign(self.folder.path(), payload.as_bytes())?;
        let mut annotations = json!({"dev.cosignproject.cosign/signature": signature});
        if let Some(authority) = &self.authority {
            let certificate = self.certificate()?;
            let body = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": sha256(payload.as_bytes())?}},
                "signature": {"content": signature, "publicKey": {"content": STANDARD.encode(&certificate)}}}});
            let (promise, promised) = self.entry(authority.path(), &body)?;
            let bundle = json!({"SignedEntryTimestamp": promise, "Payload": promised});
            annotations["dev.sigstore.cosign/certificate"] = certificate.into();
            annotations["dev.sigstore.cosign/bundle"] = bundle.to_string().into();
        }
        let tag = format!("{}.sig", digest.replace(':', "-"));
        registry.put_artifact(repository, &tag, json!({}), &[(SIMPLE, annotations, payload.as_bytes())]).map(drop)
    }

    /// As cosign 3 stores it, in a registry that knows no referrers.
    pub fn by_referrer(&self, registry: &Registry, repository: &str, digest: &str) -> Result<()> {
        let statement = json!({"_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "", "digest": {"sha256": digest.trim_start_matches("sha256:")}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {}})
        .to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let signature = sign(self.folder.path(), signed.as_bytes())?;
        let bundle = json!({"mediaType": BUNDLE, "verificationMaterial": self.material(&statement, &signature)?,
            "dsseEnvelope": {"payload": STANDARD.encode(&statement), "payloadType": kind,
                "signatures": [{"sig": signature, "keyid": ""}]}})
        .to_string();
        let manifest = json!({"artifactType": BUNDLE});
        let layers = [(BUNDLE, json!({}), bundle.as_bytes())];
        let mut descriptor = registry.put_artifact(repository, "bundle", manifest, &layers)?;
        descriptor["artifactType"] = BUNDLE.into();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [descriptor]});
        registry.put_manifest(repository, &digest.replace(':', "-"), &index).map(drop)
    }

    /// What a bundle says besides.
    fn material(&self, statement: &str, signature: &str) -> Result<Value> {
        let Some(authority) = &self.authority else { return Ok(json!({"publicKey": {"hint": "x"}})) };
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": sha256(b"")?},
            "payloadHash": {"algorithm": "sha256", "value": sha256(statement.as_bytes())?},
            "signatures": [{"signature": signature, "verifier": STANDARD.encode(self.certificate()?)}]}});
        let (promise, promised) = self.entry(authority.path(), &body)?;
        let der = words(self.folder.path(), "x509 -in certificate -outform DER")?;
        let id = promised["logID"].as_str().context("a log")?;
        let id: Vec<u8> = id
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(&String::from_utf8_lossy(two), 16))
            .collect::<Result<_, _>>()?;
        Ok(json!({"certificate": {"rawBytes": STANDARD.encode(der)}, "tlogEntries": [{
            "logIndex": "7", "logId": {"keyId": STANDARD.encode(id)}, "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": promised["integratedTime"].to_string(), "canonicalizedBody": promised["body"],
            "inclusionPromise": {"signedEntryTimestamp": promise}}]}))
    }
}

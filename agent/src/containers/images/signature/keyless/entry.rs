//! Entries of Rekor: <https://github.com/sigstore/rekor/blob/main/types.md>

use super::Signed;
use super::certificate::Certificate;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::hex::hex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// What the log says of a signature.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What was logged, as JSON.
    pub body: Vec<u8>,
    /// When, in seconds since 1970.
    pub time: i64,
    pub index: i64,
    /// SHA-256 of the log's public key, in hexadecimal digits.
    pub log: String,
    /// The log's signature of all this.
    pub promise: Option<Vec<u8>>,
}

/// As cosign before version 3 notes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Annotation {
    signed_entry_timestamp: String,
    payload: AnnotationPayload,
}

#[derive(Deserialize)]
struct AnnotationPayload {
    body: String,
    #[serde(rename = "integratedTime")]
    time: i64,
    #[serde(rename = "logIndex")]
    index: i64,
    #[serde(rename = "logID")]
    log: String,
}

#[derive(Deserialize)]
struct Body {
    kind: String,
    spec: Value,
}

impl Entry {
    /// Reads the annotation of a signature.
    pub fn of_annotation(text: &str) -> Result<Self, String> {
        let unreadable = || "its log entry cannot be read".to_owned();
        let written: Annotation = serde_json::from_str(text).map_err(|_| unreadable())?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| unreadable());
        let AnnotationPayload { body, time, index, log } = written.payload;
        let promise = Some(decode(&written.signed_entry_timestamp)?);
        Ok(Self { body: decode(&body)?, time, index, log, promise })
    }

    /// What the log has signed: canonical JSON (RFC 8785) of what it promises to keep.
    pub fn promised(&self) -> Vec<u8> {
        let body = STANDARD.encode(&self.body);
        let log = Value::from(self.log.as_str());
        format!(r#"{{"body":"{body}","integratedTime":{},"logID":{log},"logIndex":{}}}"#, self.time, self.index).into()
    }

    /// Whether it is about this signature, with this certificate.
    ///
    /// # Errors
    /// A sentence: it is about something else, or of a kind that is not known here.
    pub fn check(&self, signed: Signed<'_>, certificate: &Certificate<'_>) -> Result<(), String> {
        let body: Body = serde_json::from_slice(&self.body).map_err(|_| "its log entry cannot be read".to_owned())?;
        let spec = &body.spec;
        let (hash, content, signatures) = match body.kind.as_str() {
            "hashedrekord" | "rekord" => (
                &spec["data"]["hash"],
                signed.message,
                vec![(&spec["signature"]["content"], &spec["signature"]["publicKey"]["content"])],
            ),
            "dsse" => {
                let statement = signed.statement.ok_or("its log entry is that of an envelope, and it is none")?;
                let all = spec["signatures"].as_array().into_iter().flatten();
                (&spec["payloadHash"], statement, all.map(|one| (&one["signature"], &one["verifier"])).collect())
            }
            kind => {
                let kind: String = kind.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(format!("its log entry is of the kind {kind:?}; hashedrekord and dsse are known"));
            }
        };
        if !is_hash(hash, content) {
            return Err("its log entry is about something else than what was signed".into());
        }
        let is_it = |(signature, verifier): &(&Value, &Value)| {
            decoded(signature).is_some_and(|bytes| bytes == signed.signature)
                && decoded(verifier)
                    .and_then(|pem| CertificateDer::from_pem_slice(&pem).ok())
                    .is_some_and(|der| der == *certificate.der)
        };
        if signatures.iter().any(is_it) {
            return Ok(());
        }
        Err("its log entry is that of another signature or certificate".into())
    }
}

fn decoded(text: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(text.as_str()?).ok()
}

/// Whether `{"algorithm": …, "value": …}` is that of a content.
fn is_hash(hash: &Value, content: &[u8]) -> bool {
    let digest = match hash["algorithm"].as_str() {
        Some("sha256") => Sha256::digest(content).to_vec(),
        Some("sha384") => Sha384::digest(content).to_vec(),
        Some("sha512") => Sha512::digest(content).to_vec(),
        _ => return false,
    };
    hash["value"].as_str() == Some(hex(&digest).as_str())
}

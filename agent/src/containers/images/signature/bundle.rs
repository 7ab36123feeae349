//! Sigstore bundles: <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>, as JSON.

use super::keyless::{Entry, Material};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::hex::hex;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What cosign says of an image that it signs.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT: &str = "application/vnd.in-toto+json";

/// What was signed, and what came with it.
#[derive(Debug)]
pub struct Bundle {
    pub content: Content,
    /// Why it cannot be read is of interest only where it is needed.
    pub material: Result<Material, String>,
}

/// What was signed.
#[derive(Debug)]
pub enum Content {
    /// A statement about the image.
    Envelope(Envelope),
    /// The image's manifest; this is the signature.
    Message(Vec<u8>),
}

/// A DSSE envelope: <https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>.
#[derive(Debug)]
pub struct Envelope {
    kind: String,
    pub payload: Vec<u8>,
    pub signatures: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    verification_material: WrittenMaterial,
    dsse_envelope: Option<WrittenEnvelope>,
    message_signature: Option<WrittenMessage>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMaterial {
    certificate: Option<WrittenBytes>,
    x509_certificate_chain: Option<WrittenChain>,
    tlog_entries: Vec<WrittenEntry>,
    timestamp_verification_data: Value,
}

#[derive(Deserialize)]
struct WrittenChain {
    certificates: Vec<WrittenBytes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenBytes {
    raw_bytes: String,
}

/// Numbers of 64 bits are texts, as Protocol Buffers have it in JSON.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenEntry {
    log_index: String,
    log_id: WrittenLog,
    integrated_time: String,
    inclusion_promise: Option<WrittenPromise>,
    canonicalized_body: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenLog {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenPromise {
    signed_entry_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<WrittenSignature>,
}

#[derive(Deserialize)]
struct WrittenSignature {
    sig: String,
}

#[derive(Deserialize)]
struct WrittenMessage {
    signature: String,
}

/// An in-toto statement: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

impl Bundle {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or is of a version that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let unreadable = || "its bundle cannot be read".to_owned();
        let written: Written = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
        let version = written.media_type.trim_end_matches("+json");
        if !(version.ends_with(".v0.3") || version.ends_with("version=0.3")) {
            return Err(format!("its bundle has the form {:?}; only v0.3 is known", shown(&written.media_type)));
        }
        let material = written.verification_material.read();
        let material = material.ok_or_else(|| "its certificate or log entry cannot be read".to_owned());
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| unreadable());
        let content = match (written.dsse_envelope, written.message_signature) {
            (Some(envelope), None) => Content::Envelope(Envelope {
                kind: envelope.payload_type,
                payload: decode(&envelope.payload)?,
                signatures: envelope.signatures.iter().map(|one| decode(&one.sig)).collect::<Result<_, _>>()?,
            }),
            (None, Some(message)) => Content::Message(decode(&message.signature)?),
            _ => return Err(unreadable()),
        };
        Ok(Self { content, material })
    }
}

impl WrittenMaterial {
    fn read(self) -> Option<Material> {
        let chain = self.x509_certificate_chain.into_iter().flat_map(|chain| chain.certificates);
        let certificates = self.certificate.into_iter().chain(chain);
        let certificates = certificates
            .map(|one| STANDARD.decode(one.raw_bytes).ok().map(CertificateDer::from))
            .collect::<Option<_>>()?;
        let entries = self.tlog_entries.into_iter().map(WrittenEntry::read).collect::<Option<_>>()?;
        let stamps = &self.timestamp_verification_data["rfc3161Timestamps"];
        let has_timestamp = stamps.as_array().is_some_and(|stamps| !stamps.is_empty());
        Some(Material { certificates, entries, has_timestamp })
    }
}

impl WrittenEntry {
    fn read(self) -> Option<Entry> {
        // What a log does not say is not there at all.
        let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok() };
        Some(Entry {
            body: STANDARD.decode(self.canonicalized_body).ok()?,
            time: number(&self.integrated_time)?,
            index: number(&self.log_index)?,
            log: hex(&STANDARD.decode(self.log_id.key_id).ok()?),
            promise: match self.inclusion_promise {
                Some(promise) => Some(STANDARD.decode(promise.signed_entry_timestamp).ok()?),
                None => None,
            },
        })
    }
}

impl Envelope {
    /// The bytes that are signed: DSSE's pre-authentication encoding.
    pub fn signed(&self) -> Vec<u8> {
        let mut bytes = format!("DSSEv1 {} {} {} ", self.kind.len(), self.kind, self.payload.len()).into_bytes();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Whether the statement, whose signature is good, says that the image is signed. The reason is empty where it says
    /// something else of it.
    pub fn check(&self, digest: &str) -> Result<(), String> {
        if self.kind != STATEMENT {
            return Err(String::new());
        }
        let statement: Statement =
            serde_json::from_slice(&self.payload).map_err(|_| "its statement cannot be read".to_owned())?;
        if statement.predicate_type != SIGNED {
            return Err(String::new());
        }
        let is_meant = |subject: &Subject| {
            subject.digest.get("sha256").is_some_and(|hex| digest.strip_prefix("sha256:") == Some(hex))
        };
        if statement.subject.iter().any(is_meant) { Ok(()) } else { Err("it is the signature of another image".into()) }
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{Bundle, Content, Envelope};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    const TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

    fn envelope(predicate: &str) -> Envelope {
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"","digest":{{"sha256":"ab"}}}}],"predicateType":"{predicate}","predicate":{{}}}}"#
        );
        let text = format!(
            r#"{{"mediaType":"{TYPE}","verificationMaterial":{{"publicKey":{{"hint":"x"}}}},"dsseEnvelope":{{"payload":"{}","payloadType":"application/vnd.in-toto+json","signatures":[{{"sig":"c2ln"}}]}}}}"#,
            STANDARD.encode(statement)
        );
        match Bundle::parse(text.as_bytes()).map(|bundle| bundle.content) {
            Ok(Content::Envelope(envelope)) => envelope,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_statement_that_an_image_is_signed_counts_and_others_do_not() {
        let signed = envelope("https://sigstore.dev/cosign/sign/v1");
        assert_eq!(signed.signatures, [b"sig"]);
        assert!(signed.signed().starts_with(b"DSSEv1 28 application/vnd.in-toto+json 1"));
        assert_eq!(signed.check("sha256:ab"), Ok(()));
        assert!(signed.check("sha256:cd").is_err_and(|why| why.contains("another image")));
        assert_eq!(envelope("https://slsa.dev/provenance/v1").check("sha256:ab"), Err(String::new()));
    }

    #[test]
    fn a_bundle_of_another_form_is_refused() {
        for wrong in [
            "",
            "{}",
            r#"{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","messageSignature":{"signature":"c2ln"}}"#,
            r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#,
            r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{"signature":"?"}}"#,
        ] {
            assert!(Bundle::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let message = format!(r#"{{"mediaType":"{TYPE}","messageSignature":{{"signature":"c2ln"}}}}"#);
        let content = Bundle::parse(message.as_bytes()).map(|bundle| bundle.content);
        assert!(matches!(content, Ok(Content::Message(signature)) if signature == b"sig"));
    }
}

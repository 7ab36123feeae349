//! Whether an image is signed, as cosign does it: <https://github.com/sigstore/cosign/tree/main/specs>.
//!
//! In: an image's digest, and whose signature it must have. Out: who signed it, or why it is not good. Both places are looked at: the
//! tag `sha256-<digest>.sig` with its simple signing payload, and what refers to the image (OCI 1.1, or its fallback
//! tag) with a Sigstore bundle. Nothing survives.

/// Sigstore bundles.
mod bundle;
/// Public keys.
mod key;
/// Signatures without a key of their own.
mod keyless;
/// The payload of simple signing.
mod payload;
/// Whoever must have signed.
mod signers;

use super::registry::{Descriptor, Manifest, Registry, RegistryError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::{Bundle, Content, Envelope};
use key::Key;
use keyless::{Entry, Material, Signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
pub use signers::{Signers, names};

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const ENTRY: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// An attestation's bundle may hold a whole bill of materials, but what counts here is small.
const LONGEST_BUNDLE: usize = 4 << 20;
const LONGEST_PAYLOAD: usize = 1 << 20;
/// So many signatures are looked at: whoever may write to the registry can add as many as he likes.
const MOST: usize = 50;

/// Why an image does not run.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// It has no good signature.
    #[error("{0}")]
    Refused(String),
    /// The registry does not say.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// What is signed, and by whom it must be.
#[derive(Debug)]
pub struct Check<'a> {
    pub registry: &'a Registry,
    pub digest: &'a str,
    pub signers: &'a Signers<'a>,
}

/// Of the signatures that were looked at.
#[derive(Debug, Default)]
struct Seen {
    signatures: usize,
    /// Why they are not good, each once.
    reasons: Vec<String>,
}

impl Check<'_> {
    /// Who signed it.
    ///
    /// # Errors
    /// Nobody of those did, or the registry does not answer.
    pub async fn run(&self) -> Result<String, Unverified> {
        let mut seen = Seen::default();
        let tag = format!("{}.sig", self.digest.replace(':', "-"));
        if let Some(signer) = self.look_into(&tag, &mut seen).await? {
            return Ok(signer);
        }
        for descriptor in self.registry.referrers(self.digest).await? {
            if seen.signatures >= MOST {
                break;
            }
            if let Some(signer) = self.look_into(&descriptor.digest, &mut seen).await? {
                return Ok(signer);
            }
        }
        Err(Unverified::Refused(match seen.signatures {
            0 => format!("it is not signed, and must be with {}", self.signers),
            count => {
                format!("none of its {count} signatures is good for {}: {}", self.signers, seen.reasons.join("; "))
            }
        }))
    }

    /// Looks at the signatures that a manifest holds.
    async fn look_into(&self, manifest: &str, seen: &mut Seen) -> Result<Option<String>, RegistryError> {
        let Some(bytes) = self.registry.manifest(manifest).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(None) };
        for layer in manifest.layers.iter().take(MOST) {
            let result = if layer.media_type == SIMPLE_SIGNING {
                self.simple(layer).await?
            } else if layer.media_type.starts_with(BUNDLE) {
                self.bundled(layer).await?
            } else {
                continue;
            };
            match result {
                Ok(signer) => return Ok(Some(signer)),
                // An attestation says something of the image, but not that it may run.
                Err(why) if why.is_empty() => {}
                Err(why) => {
                    seen.signatures += 1;
                    if !seen.reasons.contains(&why) {
                        seen.reasons.push(why);
                    }
                }
            }
        }
        Ok(None)
    }

    async fn simple(&self, layer: &Descriptor) -> Result<Result<String, String>, RegistryError> {
        let Some(payload) = self.registry.blob(&layer.digest, LONGEST_PAYLOAD).await? else {
            return Ok(Err("its payload is not in the registry".into()));
        };
        let signature = layer.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
        let Some(signature) = signature else { return Ok(Err("it has a payload without a signature".into())) };
        let signed = Signed { message: &payload, signature: &signature, statement: None };
        Ok(self
            .signers
            .verify(signed, &annotated(layer))
            .and_then(|signer| payload::check(&payload, self.digest).map(|()| signer)))
    }

    async fn bundled(&self, layer: &Descriptor) -> Result<Result<String, String>, RegistryError> {
        let Some(bytes) = self.registry.blob(&layer.digest, LONGEST_BUNDLE).await? else {
            return Ok(Err("its bundle is not in the registry".into()));
        };
        let bundle = match Bundle::parse(&bytes) {
            Ok(bundle) => bundle,
            Err(why) => return Ok(Err(why)),
        };
        match &bundle.content {
            Content::Envelope(envelope) => Ok(self.enveloped(envelope, &bundle.material)),
            Content::Message(signature) => {
                // What is signed is the image's manifest itself.
                let Some(manifest) = self.registry.manifest(self.digest).await? else {
                    return Ok(Err("its manifest is not in the registry".into()));
                };
                let signed = Signed { message: &manifest, signature, statement: None };
                Ok(self.signers.verify(signed, &bundle.material))
            }
        }
    }

    fn enveloped(&self, envelope: &Envelope, material: &Result<Material, String>) -> Result<String, String> {
        // What it says decides first whether it is a signature at all.
        envelope.check(self.digest).or_else(|why| if why.is_empty() { Err(why) } else { Ok(()) })?;
        let message = envelope.signed();
        let mut result = Err("its envelope holds no signature".into());
        for signature in envelope.signatures.iter().take(MOST) {
            let signed = Signed { message: &message, signature, statement: Some(&envelope.payload) };
            result = self.signers.verify(signed, material);
            if result.is_ok() {
                break;
            }
        }
        result.and_then(|signer| envelope.check(self.digest).map(|()| signer))
    }
}

/// What came with a signature, as its annotations.
fn annotated(layer: &Descriptor) -> Result<Material, String> {
    let mut material = Material { has_timestamp: layer.annotations.contains_key(TIMESTAMP), ..Material::default() };
    for name in [CERTIFICATE, CHAIN] {
        let Some(pem) = layer.annotations.get(name) else { continue };
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        material.certificates.extend(all.map_err(|_| "its certificate cannot be read".to_owned())?);
    }
    if let Some(text) = layer.annotations.get(ENTRY) {
        material.entries.push(Entry::of_annotation(text)?);
    }
    Ok(material)
}

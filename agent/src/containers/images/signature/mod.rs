//! Whether an image is signed, as cosign does it: <https://github.com/sigstore/cosign/tree/main/specs>.
//!
//! In: an image's digest and public keys. Out: the key that signed it, or why none did. Both places are looked at: the
//! tag `sha256-<digest>.sig` with its simple signing payload, and what refers to the image (OCI 1.1, or its fallback
//! tag) with a Sigstore bundle. Nothing survives.

/// Sigstore bundles.
pub mod bundle;
/// Public keys.
mod key;
/// The payload of simple signing.
mod payload;

use super::registry::{Descriptor, Manifest, Registry, RegistryError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use key::Key;
use std::path::PathBuf;

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
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
    pub keys: &'a [Key],
}

/// Of the signatures that were looked at.
#[derive(Debug, Default)]
struct Seen {
    signatures: usize,
    /// Why they are not good, each once.
    reasons: Vec<String>,
}

impl Check<'_> {
    /// The key that signed it.
    ///
    /// # Errors
    /// None did, or the registry does not answer.
    pub async fn run(&self) -> Result<PathBuf, Unverified> {
        let mut seen = Seen::default();
        let tag = format!("{}.sig", self.digest.replace(':', "-"));
        if let Some(key) = self.look_into(&tag, &mut seen).await? {
            return Ok(key);
        }
        for descriptor in self.registry.referrers(self.digest).await? {
            if seen.signatures >= MOST {
                break;
            }
            if let Some(key) = self.look_into(&descriptor.digest, &mut seen).await? {
                return Ok(key);
            }
        }
        let keys: Vec<String> = self.keys.iter().map(|key| key.path.display().to_string()).collect();
        Err(Unverified::Refused(match seen.signatures {
            0 => format!("it is not signed, and must be with one of the keys {}", keys.join(", ")),
            count => format!(
                "none of its {count} signatures is good for the keys {}: {}",
                keys.join(", "),
                seen.reasons.join("; ")
            ),
        }))
    }

    /// Looks at the signatures that a manifest holds.
    async fn look_into(&self, manifest: &str, seen: &mut Seen) -> Result<Option<PathBuf>, RegistryError> {
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
                Ok(key) => return Ok(Some(key.path.clone())),
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

    async fn simple(&self, layer: &Descriptor) -> Result<Result<&Key, String>, RegistryError> {
        let Some(payload) = self.registry.blob(&layer.digest, LONGEST_PAYLOAD).await? else {
            return Ok(Err("its payload is not in the registry".into()));
        };
        let signature = layer.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
        let Some(signature) = signature else { return Ok(Err("it has a payload without a signature".into())) };
        Ok(self.by_key(&payload, &signature).and_then(|key| payload::check(&payload, self.digest).map(|()| key)))
    }

    async fn bundled(&self, layer: &Descriptor) -> Result<Result<&Key, String>, RegistryError> {
        let Some(bytes) = self.registry.blob(&layer.digest, LONGEST_BUNDLE).await? else {
            return Ok(Err("its bundle is not in the registry".into()));
        };
        let bundle = match bundle::Bundle::parse(&bytes) {
            Ok(bundle) => bundle,
            Err(why) => return Ok(Err(why)),
        };
        match bundle {
            bundle::Bundle::Envelope(envelope) => Ok(envelope
                .signatures
                .iter()
                .map(|signature| self.by_key(&envelope.signed(), signature))
                .find(Result::is_ok)
                .unwrap_or_else(|| Err("no key fits its signature".into()))
                .and_then(|key| envelope.check(self.digest).map(|()| key))),
            bundle::Bundle::Message(signature) => {
                // What is signed is the image's manifest itself.
                let Some(manifest) = self.registry.manifest(self.digest).await? else {
                    return Ok(Err("its manifest is not in the registry".into()));
                };
                Ok(self.by_key(&manifest, &signature))
            }
        }
    }

    fn by_key(&self, message: &[u8], signature: &[u8]) -> Result<&Key, String> {
        self.keys.iter().find(|key| key.verify(message, signature)).ok_or_else(|| "no key fits its signature".into())
    }
}

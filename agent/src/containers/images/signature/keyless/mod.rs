//! Signatures without a key of their own: an authority (Fulcio) gives the signer a certificate for some minutes, and a
//! log (Rekor) attests that the signature was made in these.
//!
//! In: what was signed, the signature, its certificate and log entry, and files that say who is believed. Out: whether the
//! configured identity signed. Nothing is asked of any service, and nothing survives.

/// The signer's certificate.
mod certificate;
/// The log's entries.
pub mod entry;
/// Who is believed.
mod trust;

use certificate::Certificate;
pub use entry::Entry;
use hostwright_core::config::containers::images::identity::Identity;
use rustls::pki_types::CertificateDer;
pub use trust::Trusted;

/// What a signature came with.
#[derive(Debug, Default)]
pub struct Material {
    /// The signer's certificate, and those between it and a root.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Where the signature was logged.
    pub entries: Vec<Entry>,
    /// Whether an authority for timestamps attests the time.
    pub has_timestamp: bool,
}

/// What was signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The very bytes.
    pub message: &'a [u8],
    pub signature: &'a [u8],
    /// The statement within, where the bytes are those of an envelope.
    pub statement: Option<&'a [u8]>,
}

/// Whoever must have signed, and who says so.
#[derive(Debug)]
pub struct Signer<'a> {
    pub identity: &'a Identity,
    pub trusted: Trusted,
}

impl<'a> Signer<'a> {
    /// Reads the files of what is believed.
    ///
    /// # Errors
    /// A sentence: one of them cannot be read.
    pub fn read(identity: &'a Identity) -> Result<Self, String> {
        Ok(Self { identity, trusted: Trusted::read(&identity.trust)? })
    }

    /// Whether the identity has signed.
    ///
    /// # Errors
    /// A sentence: what was expected, and what there is.
    pub fn verify(&self, signed: Signed<'_>, material: &Material) -> Result<(), String> {
        let [first, between @ ..] = &material.certificates[..] else {
            return Err("it comes without a certificate, so it was made with a key and not by an identity".into());
        };
        let certificate = Certificate::parse(first)?;
        self.check_identity(&certificate)?;
        let entry = match &material.entries[..] {
            [] if material.has_timestamp => {
                return Err("its time is attested by an authority for timestamps (RFC 3161), which is not verified here; \
                            sign with the transparency log, too"
                    .into());
            }
            [] => return Err("it comes without an entry of the transparency log, so nobody attests its time".into()),
            entries => entries.iter().find(|entry| entry.promise.is_some()).ok_or(
                "its log entry has no signed entry timestamp (a log of version 2 gives none); sign with a log of version 1",
            )?,
        };
        let time = self.trusted.time_of(entry)?;
        entry.check(signed, &certificate)?;
        self.trusted.check_chain(&certificate, between, time)?;
        if certificate.verify(signed.message, signed.signature) {
            return Ok(());
        }
        Err("its signature does not fit its certificate: what was signed has been changed".into())
    }

    fn check_identity(&self, certificate: &Certificate<'_>) -> Result<(), String> {
        let Identity { issuer, subject, .. } = self.identity;
        let found = certificate.issuer.as_deref().unwrap_or("nobody");
        if !certificate.issuer.as_deref().is_some_and(|found| issuer.is(found)) {
            return Err(format!("its signer is vouched for by {found}, and not by {issuer}"));
        }
        if !certificate.names.iter().any(|name| subject.is(name)) {
            let names = if certificate.names.is_empty() { "nobody".into() } else { certificate.names.join(", ") };
            return Err(format!("it was signed by {names}, and not by {subject}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

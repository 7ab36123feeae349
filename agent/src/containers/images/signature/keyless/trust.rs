//! What is believed: PEM files, or Sigstore's
//! <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto> as JSON.

use super::certificate::Certificate;
use super::entry::Entry;
use crate::containers::images::signature::Key;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::config::containers::images::identity::Trust;
use hostwright_core::hex::hex;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The purpose of code signing (1.3.6.1.5.5.7.3.3), which signers' certificates must have.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// Of certificates that come with a signature, so many are tried.
const MOST_BETWEEN: usize = 8;

/// Authorities and logs.
#[derive(Debug)]
pub struct Trusted {
    authorities: Vec<Authority>,
    logs: Vec<Log>,
}

#[derive(Debug)]
struct Authority {
    roots: Vec<CertificateDer<'static>>,
    between: Vec<CertificateDer<'static>>,
    valid: Span,
}

#[derive(Debug)]
struct Log {
    id: String,
    key: Key,
    valid: Span,
}

/// From when to when it is believed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Span {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Root {
    #[serde(default)]
    tlogs: Vec<RootLog>,
    #[serde(default)]
    certificate_authorities: Vec<RootAuthority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RootLog {
    public_key: RootKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RootKey {
    raw_bytes: String,
    #[serde(default)]
    valid_for: Span,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RootAuthority {
    cert_chain: RootChain,
    #[serde(default)]
    valid_for: Span,
}

#[derive(Deserialize)]
struct RootChain {
    certificates: Vec<RootCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RootCertificate {
    raw_bytes: String,
}

impl Trusted {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence: one cannot be read, or nobody is named in it.
    pub fn read(trust: &Trust) -> Result<Self, String> {
        match trust {
            Trust::Root(path) => Self::of_root(path),
            Trust::Files { authorities, log } => {
                let bytes = std::fs::read(authorities).map_err(|error| wrong(authorities, &error))?;
                let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
                let authority = Authority::of(all.map_err(|error| wrong(authorities, &error))?, Span::default());
                let authority = authority.ok_or_else(|| wrong(authorities, &"it holds no certificate"))?;
                let key = Key::read(log)?;
                Ok(Self { authorities: vec![authority], logs: vec![Log::of(key, Span::default())] })
            }
        }
    }

    fn of_root(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| wrong(path, &error))?;
        let root: Root = serde_json::from_slice(&bytes).map_err(|error| wrong(path, &error))?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|error| wrong(path, &error));
        let mut trusted = Self { authorities: Vec::new(), logs: Vec::new() };
        for authority in &root.certificate_authorities {
            let chain = authority.cert_chain.certificates.iter();
            let all: Result<Vec<_>, _> = chain.map(|one| decode(&one.raw_bytes).map(CertificateDer::from)).collect();
            trusted.authorities.extend(Authority::of(all?, authority.valid_for));
        }
        for RootLog { public_key } in &root.tlogs {
            // A key of a kind that is not known here belongs to a log whose entries are not known either.
            let key = Key::of(path, decode(&public_key.raw_bytes)?);
            trusted.logs.extend(key.ok().map(|key| Log::of(key, public_key.valid_for)));
        }
        if trusted.authorities.is_empty() || trusted.logs.is_empty() {
            return Err(wrong(path, &"it names no certificate authority, or no transparency log with a usable key"));
        }
        Ok(trusted)
    }

    /// When a signature was made, as a log attests it.
    pub fn time_of(&self, entry: &Entry) -> Result<Timestamp, String> {
        let time = Timestamp::from_second(entry.time).map_err(|_| "its log entry cannot be read".to_owned())?;
        let Some(log) = self.logs.iter().find(|log| log.id == entry.log) else {
            let known: Vec<&str> = self.logs.iter().map(|log| log.id.as_str()).collect();
            let found: String = entry.log.chars().filter(char::is_ascii_hexdigit).take(64).collect();
            return Err(format!("its log entry is of the log {found}, and not of {}", known.join(", ")));
        };
        let promise = entry.promise.as_deref().unwrap_or_default();
        if !log.key.verify(&entry.promised(), promise) {
            return Err(format!("its log entry was not signed by the log {}: it has been changed or made up", log.id));
        }
        if !log.valid.holds(time) {
            return Err(format!("its log entry is of {time}, when its log is not believed"));
        }
        Ok(time)
    }

    /// Whether an authority gave the certificate, and it was valid at the time.
    pub fn check_chain(
        &self,
        certificate: &Certificate<'_>,
        between: &[CertificateDer<'static>],
        time: Timestamp,
    ) -> Result<(), String> {
        let mut reasons: Vec<String> = Vec::new();
        for authority in &self.authorities {
            let why = match authority.check(certificate, between, time) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if !reasons.contains(&why) {
                reasons.push(why);
            }
        }
        Err(reasons.join("; "))
    }
}

impl Authority {
    /// Those that issued themselves are roots; where none has, all are.
    fn of(all: Vec<CertificateDer<'static>>, valid: Span) -> Option<Self> {
        if all.is_empty() {
            return None;
        }
        let (mut roots, mut between): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| {
            X509Certificate::from_der(one).is_ok_and(|(_, parsed)| parsed.subject() == parsed.issuer())
        });
        if roots.is_empty() {
            std::mem::swap(&mut roots, &mut between);
        }
        Some(Self { roots, between, valid })
    }

    fn check(
        &self,
        certificate: &Certificate<'_>,
        between: &[CertificateDer<'static>],
        time: Timestamp,
    ) -> Result<(), String> {
        if !self.valid.holds(time) {
            return Err(format!("it was signed at {time}, when its certificate's authority is not believed"));
        }
        if !certificate.is_for_code {
            return Err("its certificate is not one for signing code".into());
        }
        let anchors: Vec<TrustAnchor<'_>> =
            self.roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
        let between: Vec<_> = self.between.iter().chain(between.iter().take(MOST_BETWEEN)).cloned().collect();
        let seconds = u64::try_from(time.as_second()).unwrap_or_default();
        let checked = certificate.parsed.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            // The leaf must have it; authorities need not say what they are for.
            KeyUsage::required_if_present(CODE_SIGNING),
            None,
            None,
        );
        checked.map(drop).map_err(|error| said(&error, time))
    }
}

/// Why a certificate is not good, in words.
fn said(error: &webpki::Error, time: Timestamp) -> String {
    match error {
        // Another authority of the same name has another key.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            "its certificate is of none of the authorities that are believed".into()
        }
        webpki::Error::CertExpired { .. } => format!("its certificate had expired when it was signed at {time}"),
        webpki::Error::CertNotValidYet { .. } => {
            format!("its certificate was not valid yet when it was signed at {time}")
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "an authority of its certificate is not one for signing code".into()
        }
        other => format!("its certificate is not good: {other:?}"),
    }
}

impl Log {
    fn of(key: Key, valid: Span) -> Self {
        Self { id: hex(&Sha256::digest(key.der())), key, valid }
    }
}

impl Span {
    fn holds(self, time: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= time) && self.end.is_none_or(|end| time <= end)
    }
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("cannot use {}, which says who is believed: {why}", path.display())
}

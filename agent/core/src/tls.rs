//! The only place that sets up TLS: rustls with aws-lc-rs, TLS 1.2 (RFC 5246) and 1.3 (RFC 8446).

/// Which names clients' certificates have.
mod client_names;
/// Clients' certificates that webpki does not know.
mod directly_signed;
/// Servers as `web-config.yml` describes them.
mod web;

pub use web::web_server;

use crate::atomic_file;
use crate::config::metrics::web::Pem;
use crate::config::tls::ClientTls;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be used.
    #[error("cannot use {what} in {}: {reason}", path.display())]
    Pem {
        /// "the certificate", "the private key", "the authority".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not belong together, or the like.
    #[error("the certificate in {} cannot be used with its key", path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A name of a cipher suite or curve that is none.
    #[error("{name:?} under {key} is not known; Go's documentation of crypto/tls lists the names")]
    Unknown {
        /// Where it stands.
        key: &'static str,
        /// What stands there.
        name: String,
    },
    /// Versions, suites and curves exclude each other.
    #[error(
        "the versions, cipher_suites and curve_preferences leave nothing to speak; TLS 1.2 needs a suite such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    )]
    Unspeakable(#[source] rustls::Error),
    /// A client could not be set up.
    #[error("cannot set up TLS")]
    Client(#[source] rustls::Error),
    /// There is nobody to trust.
    #[error("this system trusts no authority; install ca-certificates, or name the authority's file with ca:")]
    NoAuthorities,
    /// A certificate could not be made.
    #[error("cannot make a self-signed certificate")]
    Make(#[from] rcgen::Error),
    /// A made certificate could not be kept.
    #[error("cannot write the self-signed certificate to {}", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A server that shows `certificate` and, where `client_ca` is given, asks clients for a certificate of that
/// authority. Clients without one are let in all the same: what they may ask for is the application's to say.
///
/// # Errors
/// A file cannot be read or used.
pub fn server(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("the certificate", certificate)?;
    let key = private_key(key)?;
    let pair = |source| TlsError::Pair { path: certificate.to_owned(), source };
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(pair)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A client of servers whose certificate an authority of `settings` has signed.
///
/// # Errors
/// A file cannot be read or used, or the system has no authorities.
pub fn client(settings: &ClientTls) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &settings.ca {
        Some(path) => roots("the authority", path)?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Client)?
        .with_root_certificates(roots);
    let Some(pair) = &settings.certificate else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let chain = certificates("the certificate", &pair.certificate)?;
    let config = builder
        .with_client_auth_cert(chain, private_key(&pair.key)?)
        .map_err(|source| TlsError::Pair { path: pair.certificate.clone(), source })?;
    Ok(Arc::new(config))
}

/// A client that trusts nobody, for an HTTP client that wants one although it has no TLS to do.
///
/// # Errors
/// TLS cannot be set up at all.
pub fn client_of_nobody() -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Client)?;
    Ok(Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()))
}

fn private_key_of(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    match pem {
        Pem::File(path) => private_key(path),
        Pem::Text(text) => PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|error| TlsError::Pem {
            what: "the private key",
            path: "the web configuration".into(),
            reason: error.to_string(),
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::Pem {
        what: "the private key",
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn roots(what: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    roots_of(what, path, certificates(what, path)?)
}

fn roots_of(
    what: &'static str,
    path: &Path,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| TlsError::Pem {
            what,
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// The authorities that the system trusts. One that cannot be used is left out: it would only ever be missed by name.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) }
}

fn client_verifier(path: &Path) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::Pem { what: "the authority", path: path.to_owned(), reason };
    let roots = roots("the authority", path)?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(error.to_string()))
}

fn certificates_of(what: &'static str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match pem {
        Pem::File(path) => certificates(what, path),
        Pem::Text(text) => {
            let chain = CertificateDer::pem_slice_iter(text.expose().as_bytes()).collect();
            usable(what, Path::new("the web configuration"), chain)
        }
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError::Pem { what, path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?.collect();
    usable(what, path, chain)
}

fn usable(
    what: &'static str,
    path: &Path,
    chain: Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError::Pem { what, path: path.to_owned(), reason };
    match chain {
        Ok(chain) if chain.is_empty() => Err(unusable("there is no certificate in it".into())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// The certificate and key files in `folder` that this host signs itself, made at the first call.
///
/// # Errors
/// They cannot be made or written.
pub fn self_signed(folder: &Path, host_name: &str) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let made = rcgen::generate_simple_self_signed([host_name.to_owned(), "localhost".to_owned()])?;
    // The certificate last: a crash in between leaves a pair that is made again.
    for (path, content, mode) in
        [(&key, made.signing_key.serialize_pem(), 0o600), (&certificate, made.cert.pem(), 0o644)]
    {
        atomic_file::replace(path, content.as_bytes(), mode)
            .map_err(|source| TlsError::Keep { path: path.clone(), source })?;
    }
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use super::{self_signed, server};

    #[test]
    fn a_self_signed_pair_is_made_once_and_serves() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (certificate, key) = self_signed(folder.path(), "host-1").expect("made");
        let first = std::fs::read(&certificate).expect("read");
        server(&certificate, &key, Some(&certificate)).expect("usable, and as an authority too");
        self_signed(folder.path(), "host-1").expect("found");
        assert_eq!(std::fs::read(&certificate).expect("read"), first);
    }

    #[test]
    fn a_file_without_a_certificate_is_named_in_the_error() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("empty.pem");
        std::fs::write(&path, "").expect("written");
        let error = server(&path, &path, None).expect_err("refused").to_string();
        assert!(error.contains("empty.pem") && error.contains("no certificate"), "{error}");
    }
}

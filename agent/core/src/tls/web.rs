use super::client_names::{Authorities, ClientVerifier};
use super::{TlsError, certificates_of, directly_signed, private_key_of, provider, system_roots};
use crate::config::metrics::web::{ClientAuth, Pem, ServerTls, Version};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Go's names for the suites of TLS 1.2 that are spoken here.
const SUITES: [(&str, CipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];
/// Names that Go knows too. Those of TLS 1.3 cannot be chosen there either; the others are weak (CBC, RSA key exchange)
/// and not spoken here.
const OTHER_SUITES: [&str; 11] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// A server as `web-config.yml` describes it.
///
/// # Errors
/// A file cannot be read or used, or the settings leave nothing to speak.
pub fn web_server(settings: &ServerTls, http2: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates_of("the certificate", &settings.certificate)?;
    let key = private_key_of(&settings.key)?;
    let provider = Arc::new(provider_of(settings)?);
    let pair = |source| TlsError::Pair { path: name_of(&settings.certificate), source };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(settings))
        .map_err(TlsError::Unspeakable)?;
    let builder = match client_verifier(settings, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let pair = certified(chain, key, &provider).map_err(pair)?;
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    config.ignore_client_order = settings.prefer_server_cipher_suites && !settings.cipher_suites.is_empty();
    Ok(Arc::new(config))
}

/// The pair, if the key is the certificate's, whatever version that has.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Error> {
    let key = provider.key_provider.load_private_key(key)?;
    let leaf = chain.first().ok_or(Error::NoCertificatesPresented)?;
    let shown = directly_signed::public_key(leaf)?;
    match key.public_key() {
        Some(own) if own != shown => Err(InconsistentKeys::KeyMismatch.into()),
        _ => Ok(CertifiedKey::new(chain, key)),
    }
}

fn name_of(pem: &Pem) -> PathBuf {
    match pem {
        Pem::File(path) => path.clone(),
        Pem::Text(_) => PathBuf::from("the web configuration"),
    }
}

fn versions(settings: &ServerTls) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(Version::Tls13, &version::TLS13), (Version::Tls12, &version::TLS12)];
    let spoken = |version| settings.min_version <= version && version <= settings.max_version;
    all.into_iter().filter(|(version, _)| spoken(*version)).map(|(_, spoken)| spoken).collect()
}

fn provider_of(settings: &ServerTls) -> Result<CryptoProvider, TlsError> {
    let mut provider = CryptoProvider::clone(&provider());
    if !settings.cipher_suites.is_empty() {
        let chosen = suites(&settings.cipher_suites)?;
        // Those of TLS 1.3 cannot be chosen, as in Go.
        let is_of_13 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_some();
        let mut kept: Vec<_> = provider.cipher_suites.iter().filter(|suite| is_of_13(suite)).copied().collect();
        let by_name = |name: &CipherSuite| provider.cipher_suites.iter().find(|suite| suite.suite() == *name).copied();
        kept.extend(chosen.iter().filter_map(by_name));
        provider.cipher_suites = kept;
    }
    if !settings.curve_preferences.is_empty() {
        provider.kx_groups = curves(&settings.curve_preferences)?;
    }
    Ok(provider)
}

fn suites(names: &[String]) -> Result<Vec<CipherSuite>, TlsError> {
    let mut chosen = Vec::new();
    for name in names {
        match SUITES.iter().find(|(known, _)| known == name) {
            Some((_, suite)) => chosen.push(*suite),
            None if OTHER_SUITES.contains(&name.as_str()) => {
                log::info!("TLS: {name} of cipher_suites has no effect: it is of TLS 1.3, or weak and not spoken");
            }
            None => return Err(TlsError::Unknown { key: "cipher_suites", name: name.clone() }),
        }
    }
    Ok(chosen)
}

fn curves(names: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, TlsError> {
    let mut chosen = Vec::new();
    for name in names {
        match name.as_str() {
            "X25519" => chosen.push(aws_lc_rs::kx_group::X25519),
            "CurveP256" => chosen.push(aws_lc_rs::kx_group::SECP256R1),
            "CurveP384" => chosen.push(aws_lc_rs::kx_group::SECP384R1),
            "X25519MLKEM768" => chosen.push(aws_lc_rs::kx_group::X25519MLKEM768),
            "CurveP521" => log::info!("TLS: CurveP521 of curve_preferences has no effect: it is not spoken here"),
            _ => return Err(TlsError::Unknown { key: "curve_preferences", name: name.clone() }),
        }
    }
    Ok(chosen)
}

fn client_verifier(
    settings: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let auth = settings.client_auth;
    if auth == ClientAuth::None {
        return Ok(None);
    }
    let authorities = match &settings.client_ca {
        _ if !auth.is_verified() => None,
        Some(pem) => {
            let certificates = certificates_of("the authority", pem)?;
            let roots = super::roots_of("the authority", &name_of(pem), certificates.clone())?;
            Some(Authorities { certificates, verifier: verifier_by(roots, provider.clone(), &name_of(pem))? })
        }
        None => {
            let verifier = verifier_by(system_roots()?, provider.clone(), Path::new("the system's authorities"))?;
            Some(Authorities { certificates: Vec::new(), verifier })
        }
    };
    Ok(Some(Arc::new(ClientVerifier {
        authorities,
        required: auth.is_required(),
        names: settings.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    })))
}

fn verifier_by(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
    name: &Path,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::Pem { what: "the authority", path: name.to_owned(), reason };
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::web_server;
    use crate::config::metrics::web::{ServerTls, WebConfig};
    use std::path::Path;

    /// What the file says under `tls_server_config`, with a certificate of its own.
    fn settings(folder: &Path, more: &str) -> ServerTls {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        std::fs::write(folder.join("server.crt"), made.cert.pem()).expect("written");
        std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).expect("written");
        let text = format!("tls_server_config: {{cert_file: server.crt, key_file: server.key{more}}}\n");
        std::fs::write(folder.join("web.yml"), text).expect("written");
        WebConfig::read(&folder.join("web.yml")).expect("valid").tls.expect("TLS")
    }

    #[test]
    fn suites_and_curves_have_gos_names_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let built = |more: &str| {
            let config = web_server(&settings(folder.path(), more), true).map_err(|error| error.to_string())?;
            let provider = config.crypto_provider();
            let of_12 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none()).count();
            Ok::<_, String>((of_12, provider.kx_groups.len()))
        };
        let all = built("").expect("usable");
        assert!(all.0 == 6 && all.1 > 2, "{all:?}");
        let some = ", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA], curve_preferences: [CurveP256, CurveP521]";
        assert_eq!(built(some), Ok((1, 1)));
        assert!(
            built(", cipher_suites: [TLS_X]")
                .is_err_and(|error| error.contains("cipher_suites") && error.contains("TLS_X"))
        );
        assert!(built(", curve_preferences: [P1]").is_err_and(|error| error.contains("curve_preferences")));
        let nothing = ", max_version: TLS12, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]";
        assert!(built(nothing).is_err_and(|error| error.contains("leave nothing to speak")));
    }

    #[test]
    fn a_key_that_does_not_belong_to_the_certificate_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let settings = settings(folder.path(), "");
        let other = rcgen::KeyPair::generate().expect("made").serialize_pem();
        std::fs::write(folder.path().join("server.key"), other).expect("written");
        let error = web_server(&settings, true).expect_err("refused").to_string();
        assert!(error.contains("server.crt cannot be used with its key"), "{error}");
    }
}

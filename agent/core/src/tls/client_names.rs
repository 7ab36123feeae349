use super::directly_signed;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is asked of clients' certificates beyond, or short of, an authority's signature.
#[derive(Debug)]
pub struct ClientVerifier {
    /// Who checks the signatures of authorities; nobody: any certificate is taken whose key the client has.
    pub authorities: Option<Authorities>,
    /// Whether a client without a certificate is sent away.
    pub required: bool,
    /// Of these the certificate must have one.
    pub names: Option<Vec<String>>,
    /// What signatures may be made with.
    pub algorithms: WebPkiSupportedAlgorithms,
}

/// Who may have signed clients' certificates.
#[derive(Debug)]
pub struct Authorities {
    /// Their own certificates.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Who checks their signatures, but for what webpki does not know.
    pub verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(Authorities { certificates, verifier }) = &self.authorities {
            if directly_signed::is_beyond_webpki(certificate) {
                directly_signed::verify(certificate, certificates, now, &self.algorithms)?;
            } else {
                verifier.verify_client_cert(certificate, intermediates, now)?;
            }
        }
        match &self.names {
            Some(allowed) if !names(certificate)?.iter().any(|name| allowed.contains(name)) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if directly_signed::is_version_1(certificate) {
            return directly_signed::verify_tls12(message, certificate, signature, &self.algorithms);
        }
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if directly_signed::is_version_1(certificate) {
            return directly_signed::verify_tls13(message, certificate, signature, &self.algorithms);
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificate's alternative names (RFC 5280, 4.2.1.6): DNS names, addresses of mail, IP addresses, URIs.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let names = parsed.subject_alternative_name().map_err(|_| CertificateError::BadEncoding)?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names.filter_map(name).collect())
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::names;
    use rcgen::{CertificateParams, KeyPair, SanType};

    #[test]
    fn names_of_every_kind_are_found() {
        let mut params =
            CertificateParams::new(vec!["prometheus.example.org".to_owned(), "10.0.0.7".to_owned()]).expect("names");
        let text = |text: &str| text.to_owned().try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::IpAddress("2001:db8::1".parse().expect("address")));
        params.subject_alt_names.push(SanType::Rfc822Name(text("ops@example.org")));
        params.subject_alt_names.push(SanType::URI(text("spiffe://example.org/prometheus")));
        let certificate = params.self_signed(&KeyPair::generate().expect("key")).expect("signed");
        let want =
            ["prometheus.example.org", "10.0.0.7", "2001:db8::1", "ops@example.org", "spiffe://example.org/prometheus"];
        assert_eq!(names(certificate.der()).expect("read"), want);
        for length in [0, 1, 40] {
            assert!(names(&certificate.der()[..length].to_vec().into()).is_err(), "{length} bytes are no certificate");
        }
    }

    #[test]
    fn a_certificate_without_names_has_none() {
        let certificate = CertificateParams::default().self_signed(&KeyPair::generate().expect("key")).expect("signed");
        assert!(names(certificate.der()).expect("read").is_empty());
    }
}

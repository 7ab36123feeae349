//! <https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>

use rustls::pki_types::CertificateDer;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert};
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Utf8String, oid};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

const ISSUER: Oid<'static> = oid!(1.3.6.1.4.1.57264.1.8);
/// The same, as bare text.
const OLD_ISSUER: Oid<'static> = oid!(1.3.6.1.4.1.57264.1.1);
/// A name that is neither an address nor a URI.
const USER_NAME: Oid<'static> = oid!(1.3.6.1.4.1.57264.1.7);

/// A signer's certificate.
pub struct Certificate<'a> {
    pub der: &'a CertificateDer<'a>,
    pub parsed: EndEntityCert<'a>,
    /// The provider that knows the signer.
    pub issuer: Option<String>,
    /// Who the signer is.
    pub names: Vec<String>,
    /// Whether it was given for signing code.
    pub is_for_code: bool,
}

impl<'a> Certificate<'a> {
    pub fn parse(der: &'a CertificateDer<'a>) -> Result<Self, String> {
        let unreadable = || "its certificate cannot be read".to_owned();
        let parsed = EndEntityCert::try_from(der).map_err(|_| unreadable())?;
        let (_, content) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
        let alternative = content.subject_alternative_name().map_err(|_| unreadable())?;
        let names = alternative.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect();
        let usage = content.extended_key_usage().map_err(|_| unreadable())?;
        let is_for_code = usage.is_some_and(|usage| usage.value.code_signing);
        Ok(Self { is_for_code, der, parsed, issuer: issuer(&content), names })
    }

    /// Whether the certificate's key made a signature.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        ALL_VERIFICATION_ALGS
            .iter()
            .any(|algorithm| self.parsed.verify_signature(*algorithm, message, signature).is_ok())
    }
}

fn issuer(certificate: &X509Certificate<'_>) -> Option<String> {
    let value = |id: &Oid<'_>| certificate.get_extension_unique(id).ok().flatten().map(|extension| extension.value);
    if let Some(der) = value(&ISSUER) {
        return Utf8String::from_der(der).ok().map(|(_, text)| text.string());
    }
    String::from_utf8(value(&OLD_ISSUER)?.to_vec()).ok()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::RFC822Name(text) | GeneralName::URI(text) | GeneralName::DNSName(text) => Some((*text).to_owned()),
        GeneralName::OtherName(id, value) if *id == USER_NAME => {
            let (_, outer) = Any::from_der(value).ok()?;
            let (_, text) = Utf8String::from_der(outer.data).ok()?;
            Some(text.string())
        }
        _ => None,
    }
}

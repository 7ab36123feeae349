//! Clients' certificates that Go takes and webpki does not: those of version 1, which have no extensions (RFC 5280,
//! 4.1.2.1), as `openssl x509 -req` makes them; and those that could be an authority's, as `openssl req -x509` makes them.
//! They are taken where an authority itself has signed them, or is them.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate, X509Version};

/// Whether it is of version 1.
pub fn is_version_1(certificate: &CertificateDer<'_>) -> bool {
    parse(certificate).is_ok_and(|parsed| parsed.version() == X509Version::V1)
}

/// Whether webpki would refuse it as a client's, whoever has signed it.
pub fn is_beyond_webpki(certificate: &CertificateDer<'_>) -> bool {
    let is_authority = |parsed: &X509Certificate<'_>| {
        let constraints = parsed.basic_constraints();
        constraints.is_ok_and(|constraints| constraints.is_some_and(|constraints| constraints.value.ca))
    };
    parse(certificate).is_ok_and(|parsed| parsed.version() == X509Version::V1 || is_authority(&parsed))
}

/// The public key of a certificate of any version.
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    Ok(SubjectPublicKeyInfoDer::from(parse(certificate)?.public_key().raw.to_vec()))
}

/// Whether one of `authorities` itself has signed the certificate for a client, and it is valid now.
pub fn verify(
    certificate: &CertificateDer<'_>,
    authorities: &[CertificateDer<'static>],
    now: UnixTime,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let parsed = parse(certificate)?;
    let time = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok());
    let time = time.ok_or(Error::FailedToGetCurrentTime)?;
    if time < parsed.validity().not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if time > parsed.validity().not_after {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    let signed = |authority: &CertificateDer<'_>| {
        let authority = parse(authority)?;
        let is_issuer = authority.subject().as_raw() == parsed.issuer().as_raw();
        Ok::<_, Error>(is_issuer && is_signed_by(certificate, &parsed, &authority, algorithms).is_some())
    };
    match authorities.iter().any(|authority| signed(authority).unwrap_or(false)) {
        true => Ok(()),
        false => Err(CertificateError::UnknownIssuer.into()),
    }
}

/// Whether the client that shows the certificate has its key, in TLS 1.2.
pub fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let parsed = parse(certificate)?;
    let of_scheme = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
    let key_algorithm = algorithm_of_key(&parsed).ok_or(CertificateError::BadEncoding)?;
    let key = &parsed.public_key().subject_public_key.data;
    let fits = of_scheme.iter().flat_map(|(_, all)| all.iter()).any(|algorithm| {
        algorithm.public_key_alg_id().as_ref() == key_algorithm
            && algorithm.verify_signature(key, message, signature.signature()).is_ok()
    });
    if fits { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
}

/// The same in TLS 1.3.
pub fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signature, algorithms)
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(parsed)
}

fn is_signed_by(
    certificate: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    authority: &X509Certificate<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Option<()> {
    // A certificate is what is signed, the algorithm, and the signature (RFC 5280, 4.1.1).
    let (_, whole) = Any::from_der(certificate).ok()?;
    let (rest, _) = Any::from_der(whole.data).ok()?;
    let (_, algorithm) = Any::from_der(rest).ok()?;
    let key_algorithm = algorithm_of_key(authority)?;
    let key = &authority.public_key().subject_public_key.data;
    let fits = algorithms.all.iter().any(|known| {
        known.signature_alg_id().as_ref() == algorithm.data
            && known.public_key_alg_id().as_ref() == key_algorithm
            && known.verify_signature(key, parsed.tbs_certificate.as_ref(), &parsed.signature_value.data).is_ok()
    });
    fits.then_some(())
}

/// What stands in the AlgorithmIdentifier of the certificate's key.
fn algorithm_of_key<'a>(parsed: &X509Certificate<'a>) -> Option<&'a [u8]> {
    let (_, whole) = Any::from_der(parsed.tbs_certificate.subject_pki.raw).ok()?;
    let (_, algorithm) = Any::from_der(whole.data).ok()?;
    Some(algorithm.data)
}

#[cfg(test)]
mod tests {
    use super::{CertificateDer, is_beyond_webpki, is_version_1, verify};
    use crate::tls::provider;
    use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use rustls::pki_types::UnixTime;
    use std::time::Duration;

    const DAY: u64 = 24 * 3600;

    /// An authority's certificate, and one that it signed; what is checked is the same in every version.
    fn pair(name: &str) -> (CertificateDer<'static>, CertificateDer<'static>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("key");
        let authority = params.self_signed(&key).expect("signed").der().clone();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 31);
        let leaf = params.signed_by(&KeyPair::generate().expect("key"), &issuer).expect("signed").der().clone();
        (authority, leaf)
    }

    /// Days after the first of January 2020.
    fn day(number: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(1_577_836_800 + number * DAY))
    }

    #[test]
    fn what_the_authority_itself_has_signed_is_taken_while_it_is_valid() {
        let algorithms = provider().signature_verification_algorithms;
        let ((authority, leaf), (namesake, _), (other, _)) = (pair("a"), pair("a"), pair("b"));
        let check = |leaf: &CertificateDer<'_>, by: &[&CertificateDer<'static>], now| {
            let authorities: Vec<_> = by.iter().map(|one| (*one).clone()).collect();
            verify(leaf, &authorities, now, &algorithms).is_ok()
        };
        assert!(check(&leaf, &[&other, &namesake, &authority], day(15)));
        assert!(!check(&leaf, &[&other, &namesake], day(15)), "of the same name, but with another key");
        assert!(!check(&leaf, &[], day(15)));
        assert!(
            !check(&leaf, &[&authority], day(32))
                && !check(&leaf, &[&authority], UnixTime::since_unix_epoch(Duration::ZERO))
        );
        let forged: Vec<u8> =
            leaf.iter().enumerate().map(|(at, byte)| if at == 80 { byte ^ 1 } else { *byte }).collect();
        assert!(!check(&forged.into(), &[&authority], day(15)));
        for length in 0..leaf.len() {
            assert!(!check(&leaf[..length].to_vec().into(), &[&authority], day(15)), "{length} bytes");
        }
        assert!(!is_version_1(&leaf) && !is_version_1(&Vec::new().into()));
        assert!(is_beyond_webpki(&authority) && !is_beyond_webpki(&leaf));
    }

    #[test]
    fn who_signed_its_own_certificate_is_known_by_it_unless_it_is_for_servers_alone() {
        let algorithms = provider().signature_verification_algorithms;
        for (usage, want) in [
            (vec![], true),
            (vec![ExtendedKeyUsagePurpose::ClientAuth], true),
            (vec![ExtendedKeyUsagePurpose::ServerAuth], false),
        ] {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.extended_key_usages = usage;
            let own = params.self_signed(&KeyPair::generate().expect("key")).expect("signed").der().clone();
            assert!(is_beyond_webpki(&own));
            assert_eq!(verify(&own, std::slice::from_ref(&own), day(2000), &algorithms).is_ok(), want);
        }
    }
}

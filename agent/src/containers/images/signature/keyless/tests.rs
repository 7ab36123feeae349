//! An authority and a log made here, from Sigstore's documents; and one entry and certificate of the real ones, which
//! cosign's specification gives as its example.

use super::{Entry, Identity, Material, Signed, Signer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::config::containers::images::identity::{Trust, Wanted};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    OtherNameValue, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _, SanType,
    SignatureAlgorithm, SigningKey as _,
};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const ISSUER: &str = "https://id.example.org";
const SUBJECT: &str = "builder@example.org";
const MESSAGE: &[u8] = b"what is signed";

/// An authority with one certificate between its root and signers, and a log.
struct Sigstore {
    root: rcgen::CertifiedIssuer<'static, KeyPair>,
    between: rcgen::CertifiedIssuer<'static, KeyPair>,
    log: KeyPair,
    folder: TempDir,
}

/// A signature with all that comes with it.
struct Made {
    signature: Vec<u8>,
    statement: Option<Vec<u8>>,
    material: Material,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("valid");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).expect("a key")
}

/// So many days from today, as year, month and day.
fn date(days: i64) -> (i32, u8, u8) {
    let date = (Timestamp::now() + SignedDuration::from_hours(24 * days)).to_zoned(jiff::tz::TimeZone::UTC);
    (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
}

impl Sigstore {
    fn make() -> Self {
        let root =
            rcgen::CertifiedIssuer::self_signed(authority("root"), key(&PKCS_ECDSA_P384_SHA384)).expect("a root");
        let between = rcgen::CertifiedIssuer::signed_by(authority("between"), key(&PKCS_ECDSA_P384_SHA384), &root);
        let made = Self {
            root,
            between: between.expect("signed"),
            log: key(&PKCS_ECDSA_P256_SHA256),
            folder: tempfile::tempdir().expect("temporary folder"),
        };
        std::fs::write(made.path("authorities.pem"), made.root.pem() + &made.between.pem()).expect("written");
        std::fs::write(made.path("log.pem"), made.log.public_key_pem()).expect("written");
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn identity(&self) -> Identity {
        let trust = Trust::Files { authorities: self.path("authorities.pem"), log: self.path("log.pem") };
        Identity { issuer: Wanted::Exactly(ISSUER.into()), subject: Wanted::Exactly(SUBJECT.into()), trust }
    }

    /// A signer's certificate, of today and yesterday.
    fn certificate(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::Rfc822Name(SUBJECT.try_into().expect("ASCII"))];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let der = [&[0x0c, u8::try_from(ISSUER.len()).expect("short")], ISSUER.as_bytes()].concat();
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], der)];
        let [before, after] = [date(-1), date(1)].map(|(year, month, day)| rcgen::date_time_ymd(year, month, day));
        (params.not_before, params.not_after) = (before, after);
        change(&mut params);
        params.signed_by(key, &self.between).expect("signed").der().clone()
    }

    /// What the log promises of an entry.
    fn entry(&self, body: &Value, time: i64) -> Entry {
        let log = hostwright_core::hex::hex(&Sha256::digest(self.log.subject_public_key_info()));
        let mut entry = Entry { body: body.to_string().into(), time, index: 7, log, promise: None };
        entry.promise = Some(self.log.sign(&entry.promised()).expect("signed"));
        entry
    }

    fn sign(&self) -> Made {
        self.sign_with(&key(&PKCS_ECDSA_P256_SHA256), |_| {})
    }

    fn sign_with(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let certificate = self.certificate(key, change);
        let signature = key.sign(MESSAGE).expect("signed");
        let body = logged(MESSAGE, &signature, &certificate);
        let entry = self.entry(&body, Timestamp::now().as_second());
        let material = Material { certificates: vec![certificate], entries: vec![entry], has_timestamp: false };
        Made { signature, statement: None, material }
    }

    fn verify(&self, made: &Made) -> Result<(), String> {
        verify(&self.identity(), MESSAGE, made)
    }
}

fn verify(identity: &Identity, message: &[u8], made: &Made) -> Result<(), String> {
    let signed = Signed { message, signature: &made.signature, statement: made.statement.as_deref() };
    Signer::read(identity)?.verify(signed, &made.material)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    STANDARD.encode(format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
}

fn sha256(content: &[u8]) -> Value {
    json!({"algorithm": "sha256", "value": hostwright_core::hex::hex(&Sha256::digest(content))})
}

fn logged(content: &[u8], signature: &[u8], certificate: &CertificateDer<'_>) -> Value {
    json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {"data": {"hash": sha256(content)},
        "signature": {"content": STANDARD.encode(signature), "publicKey": {"content": pem(certificate)}}}})
}

fn refused(result: Result<(), String>, words: &str) {
    let why = result.expect_err(words);
    assert!(why.contains(words), "{words}: {why}");
}

#[test]
fn a_signature_of_the_identity_is_good_with_keys_of_each_kind() {
    let sigstore = Sigstore::make();
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let made = sigstore.sign_with(&key(algorithm), |_| {});
        assert_eq!(sigstore.verify(&made), Ok(()), "{algorithm:?}");
        refused(verify(&sigstore.identity(), b"something else", &made), "about something else than what was signed");
    }
}

#[test]
fn the_provider_and_the_signer_must_be_those_that_are_wanted() {
    let sigstore = Sigstore::make();
    let made = sigstore.sign();
    let with = |issuer: Wanted, subject: Wanted| {
        let identity = Identity { issuer, subject, ..sigstore.identity() };
        verify(&identity, MESSAGE, &made)
    };
    let (issuer, subject) = (|| Wanted::Exactly(ISSUER.into()), || Wanted::Exactly(SUBJECT.into()));
    let other = "it was signed by builder@example.org, and not by eve@example.org";
    refused(with(issuer(), Wanted::Exactly("eve@example.org".into())), other);
    refused(
        with(Wanted::Exactly("https://other".into()), subject()),
        "vouched for by https://id.example.org, and not by",
    );
    let fitting = |text: &str| Wanted::Fitting(regex::Regex::new(text).expect("valid"));
    assert_eq!(with(issuer(), fitting("^(?:.*@example\\.org)$")), Ok(()));
    refused(with(issuer(), fitting("^(?:builder)$")), "and not by /builder/");
}

#[test]
fn names_are_addresses_uris_and_user_names_and_the_old_extension_counts() {
    let sigstore = Sigstore::make();
    let workflow = "https://ci.example.org/team/app/build.yaml@refs/heads/main";
    for (name, wanted) in [
        (SanType::URI(workflow.try_into().expect("ASCII")), workflow),
        (
            SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 57264, 1, 7], OtherNameValue::Utf8String("bot!team".into()))),
            "bot!team",
        ),
    ] {
        let made = sigstore.sign_with(&key(&PKCS_ECDSA_P256_SHA256), |params| {
            params.subject_alt_names = vec![name];
            let old = [1, 3, 6, 1, 4, 1, 57264, 1, 1];
            params.custom_extensions = vec![CustomExtension::from_oid_content(&old, ISSUER.as_bytes().to_vec())];
        });
        let identity = Identity { subject: Wanted::Exactly(wanted.into()), ..sigstore.identity() };
        assert_eq!(verify(&identity, MESSAGE, &made), Ok(()), "{wanted}");
        refused(sigstore.verify(&made), &format!("it was signed by {wanted}, and not by {SUBJECT}"));
    }
    let nobody = sigstore.sign_with(&key(&PKCS_ECDSA_P256_SHA256), |params| params.custom_extensions.clear());
    refused(sigstore.verify(&nobody), "vouched for by nobody");
}

#[test]
fn a_certificate_must_be_of_the_authority_for_code_and_valid_when_it_was_used() {
    let (sigstore, stranger) = (Sigstore::make(), Sigstore::make());
    let foreign = stranger.sign();
    let mut made = sigstore.sign();
    let key = key(&PKCS_ECDSA_P256_SHA256);
    made.material.certificates = vec![stranger.certificate(&key, |_| {})];
    made.signature = key.sign(MESSAGE).expect("signed");
    let body = logged(MESSAGE, &made.signature, &made.material.certificates[0]);
    made.material.entries = vec![sigstore.entry(&body, Timestamp::now().as_second())];
    refused(sigstore.verify(&made), "of none of the authorities that are believed");
    // A stranger's own certificates do not make it better.
    made.material.certificates.extend([stranger.between.der().clone(), stranger.root.der().clone()]);
    refused(sigstore.verify(&made), "of none of the authorities that are believed");
    refused(sigstore.verify(&foreign), "its log entry is of the log ");

    let for_servers =
        sigstore.sign_with(&key, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    refused(sigstore.verify(&for_servers), "is not one for signing code");

    for (hours, words) in
        [(100, "had expired when it was signed at "), (-100, "was not valid yet when it was signed at ")]
    {
        let mut made = sigstore.sign();
        let body: Value = serde_json::from_slice(&made.material.entries[0].body).expect("JSON");
        made.material.entries = vec![sigstore.entry(&body, Timestamp::now().as_second() + hours * 3600)];
        refused(sigstore.verify(&made), words);
    }
}

#[test]
fn the_log_must_attest_this_very_signature() {
    let (sigstore, stranger) = (Sigstore::make(), Sigstore::make());
    let mut made = sigstore.sign();
    made.material.entries[0].time += 1;
    refused(sigstore.verify(&made), "it has been changed or made up");

    let mut made = sigstore.sign();
    let by_stranger = stranger.log.sign(&made.material.entries[0].promised()).expect("signed");
    made.material.entries[0].promise = Some(by_stranger);
    refused(sigstore.verify(&made), "it has been changed or made up");

    let mut made = sigstore.sign();
    made.material.entries = sigstore.sign().material.entries;
    refused(sigstore.verify(&made), "that of another signature or certificate");

    let mut made = sigstore.sign();
    made.material.entries[0].promise = None;
    refused(sigstore.verify(&made), "has no signed entry timestamp");
    made.material.entries.clear();
    refused(sigstore.verify(&made), "without an entry of the transparency log");
    made.material.has_timestamp = true;
    refused(sigstore.verify(&made), "RFC 3161");
    made.material.certificates.clear();
    refused(sigstore.verify(&made), "without a certificate");

    let mut made = sigstore.sign();
    let body = json!({"kind": "helm", "spec": {}});
    made.material.entries = vec![sigstore.entry(&body, Timestamp::now().as_second())];
    refused(sigstore.verify(&made), "of the kind \"helm\"");
}

#[test]
fn a_signature_that_is_logged_but_does_not_fit_is_refused() {
    let sigstore = Sigstore::make();
    let mut made = sigstore.sign();
    made.signature = key(&PKCS_ECDSA_P256_SHA256).sign(MESSAGE).expect("signed");
    let body = logged(MESSAGE, &made.signature, &made.material.certificates[0]);
    made.material.entries = vec![sigstore.entry(&body, Timestamp::now().as_second())];
    refused(sigstore.verify(&made), "does not fit its certificate");
}

#[test]
fn an_envelope_is_logged_by_its_statement() {
    let sigstore = Sigstore::make();
    let mut made = sigstore.sign();
    let entry = |statement: &[u8], signature: &[u8]| {
        let body = json!({"kind": "dsse", "spec": {"envelopeHash": sha256(b"x"), "payloadHash": sha256(statement),
            "signatures": [{"signature": STANDARD.encode(signature), "verifier": pem(&made.material.certificates[0])}]}});
        sigstore.entry(&body, Timestamp::now().as_second())
    };
    let (good, other) = (entry(b"statement", &made.signature), entry(b"another", &made.signature));
    let stranger = entry(b"statement", b"signature");
    made.material.entries = vec![good];
    refused(sigstore.verify(&made), "that of an envelope, and it is none");
    made.statement = Some(b"statement".to_vec());
    assert_eq!(sigstore.verify(&made), Ok(()));
    made.material.entries = vec![other];
    refused(sigstore.verify(&made), "about something else");
    made.material.entries = vec![stranger];
    refused(sigstore.verify(&made), "that of another signature");
}

#[test]
fn a_trusted_root_says_when_who_is_believed() {
    let sigstore = Sigstore::make();
    let path = sigstore.path("trusted_root.json");
    let root = |key: &str, span: Value| {
        let log = json!({"publicKey": {"rawBytes": key, "validFor": {"start": "2020-01-01T00:00:00Z"}}});
        let chain = [sigstore.between.der(), sigstore.root.der()].map(|der| json!({"rawBytes": STANDARD.encode(der)}));
        let authority = json!({"certChain": {"certificates": chain}, "validFor": span});
        json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [log],
            "certificateAuthorities": [authority]})
    };
    let write = |text: String| std::fs::write(&path, text).expect("written");
    let identity = Identity { trust: Trust::Root(path.clone()), ..sigstore.identity() };
    let made = sigstore.sign();
    let key = STANDARD.encode(sigstore.log.subject_public_key_info());
    write(root(&key, json!({"start": "2020-01-01T00:00:00.000Z"})).to_string());
    assert_eq!(verify(&identity, MESSAGE, &made), Ok(()));
    write(root(&key, json!({"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"})).to_string());
    refused(verify(&identity, MESSAGE, &made), "when its certificate's authority is not believed");
    write(root("AAAA", json!({})).to_string());
    refused(verify(&identity, MESSAGE, &made), "no transparency log with a usable key");
    for text in ["", "[]", "{\"tlogs\": [{}]}"] {
        write(text.into());
        refused(verify(&identity, MESSAGE, &made), "trusted_root.json, which says who is believed");
    }
}

#[test]
fn the_example_of_the_specification_was_logged_by_the_real_log_for_a_signer_of_the_real_authority() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/containers/images/signature/keyless/example");
    let trusted = super::Trusted::read(&Trust::Root(example.join("trusted_root.json"))).expect("readable");
    let text = std::fs::read_to_string(example.join("entry.json")).expect("readable");
    let mut entry = Entry::of_annotation(&text).expect("readable");
    let time = trusted.time_of(&entry).expect("attested");
    let body: Value = serde_json::from_slice(&entry.body).expect("JSON");
    let pem = body["spec"]["signature"]["publicKey"]["content"].as_str().expect("a certificate");
    let pem = STANDARD.decode(pem).expect("base64");
    let der = <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem).expect("a certificate");
    let certificate = super::Certificate::parse(&der).expect("readable");
    assert_eq!(trusted.check_chain(&certificate, &[], time), Ok(()));
    let later = time + SignedDuration::from_hours(1);
    refused(trusted.check_chain(&certificate, &[], later), "had expired when it was signed");
    entry.index += 1;
    refused(trusted.time_of(&entry).map(drop), "it has been changed or made up");
}

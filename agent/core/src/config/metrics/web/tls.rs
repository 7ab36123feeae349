use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::secret::Secret;
use crate::yaml::Node;
use std::path::{Path, PathBuf};

/// `tls_server_config:`
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// The chain to show, leaf first.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who may have signed clients' certificates; the system's authorities where none is given.
    pub client_ca: Option<Pem>,
    /// Of these names a client's certificate must have one.
    pub client_allowed_sans: Option<Vec<String>>,
    /// The oldest version that is spoken.
    pub min_version: Version,
    /// The newest version that is spoken.
    pub max_version: Version,
    /// Of TLS 1.2, in Go's names; none: all that are safe.
    pub cipher_suites: Vec<String>,
    /// Whether the order of the suites is ours rather than the client's.
    pub prefer_server_cipher_suites: bool,
    /// In Go's names, the preferred one first; none: all.
    pub curve_preferences: Vec<String>,
}

/// PEM (RFC 7468), here or in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// The file.
    File(PathBuf),
    /// The text itself, which may be a key.
    Text(Secret),
}

/// What is asked of clients, with the names of Go's `crypto/tls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A certificate, of which nothing is checked; none is fine too.
    Request,
    /// A certificate, of which nothing is checked.
    RequireAny,
    /// A certificate, if there is one, that an authority has signed.
    VerifyIfGiven,
    /// A certificate that an authority has signed.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a client without a certificate is sent away.
    pub fn is_required(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }

    /// Whether an authority must have signed a certificate.
    pub fn is_verified(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

impl FromNode for ClientAuth {
    const EXPECTED: &'static str =
        "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("" | "NoClientCert") => Ok(Self::None),
            Some("RequestClientCert") => Ok(Self::Request),
            // The second name is that of its early versions.
            Some("RequireAnyClientCert" | "RequireClientCert") => Ok(Self::RequireAny),
            Some("VerifyClientCertIfGiven") => Ok(Self::VerifyIfGiven),
            Some("RequireAndVerifyClientCert") => Ok(Self::RequireAndVerify),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

/// A version of TLS, with exporter-toolkit's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 1.0, which is not spoken.
    Tls10,
    /// 1.1, which is not spoken.
    Tls11,
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

impl FromNode for Version {
    const EXPECTED: &'static str = "TLS12 or TLS13";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("TLS10") => Ok(Self::Tls10),
            Some("TLS11") => Ok(Self::Tls11),
            Some("TLS12") => Ok(Self::Tls12),
            Some("TLS13") => Ok(Self::Tls13),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl ServerTls {
    /// None where nothing turns TLS on.
    pub(super) fn read(mut section: Section<'_>, folder: &Path) -> Option<Option<Self>> {
        let enabling = ["cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type"];
        let enabled = enabling.iter().any(|key| section.has(key));
        let certificate = pem(&mut section, folder, ("cert", "cert_file"));
        let key = pem(&mut section, folder, ("key", "key_file"));
        let client_ca = pem(&mut section, folder, ("client_ca", "client_ca_file"));
        let tls = |certificate, key| Self {
            certificate,
            key,
            client_ca,
            client_auth: section.or("client_auth_type", ClientAuth::None),
            client_allowed_sans: section.list("client_allowed_sans"),
            min_version: section.or("min_version", Version::Tls12),
            max_version: section.or("max_version", Version::Tls13),
            cipher_suites: section.list("cipher_suites").unwrap_or_default(),
            prefer_server_cipher_suites: section.or("prefer_server_cipher_suites", true),
            curve_preferences: section.list("curve_preferences").unwrap_or_default(),
        };
        // What is missing is told below; the other keys are read all the same, for their problems.
        let missing = || Pem::Text(Secret::new(String::new()));
        let (has_certificate, has_key) = (certificate.is_some(), key.is_some());
        let tls = tls(certificate.unwrap_or_else(missing), key.unwrap_or_else(missing));
        if enabled && !has_certificate {
            section.problem(section.place(), "one of the keys cert, cert_file is needed");
        }
        if enabled && !has_key {
            section.problem(section.place(), "one of the keys key, key_file is needed");
        }
        tls.check(&section);
        section.finish();
        Some(enabled.then_some(tls))
    }

    fn check(&self, section: &Section<'_>) {
        if self.client_allowed_sans.is_some() && !self.client_auth.is_required() {
            let message = "this needs client_auth_type RequireAnyClientCert or RequireAndVerifyClientCert: other clients may come without a certificate";
            section.problem_with("client_allowed_sans", message);
        }
        if self.client_ca.is_some() && self.client_auth == ClientAuth::None {
            let key = if section.has("client_ca_file") { "client_ca_file" } else { "client_ca" };
            section.problem_with(key, "this needs client_auth_type: without it no client is asked for a certificate");
        }
        if self.max_version < Version::Tls12 {
            section.problem_with("max_version", "versions before 1.2 are broken and not spoken; use TLS12 or TLS13");
        } else if self.min_version > self.max_version {
            section.problem_with("min_version", "this is newer than max_version, so nothing would be spoken");
        }
    }
}

/// As in the original, a file goes before a text.
fn pem(section: &mut Section<'_>, folder: &Path, (text, file): (&'static str, &'static str)) -> Option<Pem> {
    let text = section.optional::<String>(text).map(|text| Pem::Text(Secret::new(text)));
    let file = section.optional::<String>(file).map(|file| Pem::File(folder.join(file)));
    file.or(text)
}

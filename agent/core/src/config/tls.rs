use super::api::Certificate;
use super::section::Section;
use super::values::{AbsolutePath, SecretFile};
use std::path::PathBuf;

/// How a server is known and what it is shown. Where nothing is given: the system's authorities, and no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities that may have signed the server's certificate, a PEM file; the system's unless given.
    pub ca: Option<PathBuf>,
    /// What the server is shown where it asks for a certificate.
    pub certificate: Option<Certificate>,
    /// The name that the server's certificate must have (also sent as SNI, RFC 6066, 3); the address's unless given.
    pub server_name: Option<String>,
}

impl ClientTls {
    /// Reads the keys `ca`, `certificate`, `key` and `server_name`.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let ca = section.optional::<AbsolutePath>("ca");
        let certificate = section.optional::<AbsolutePath>("certificate");
        let key = section.optional::<SecretFile>("key");
        if certificate.is_some() != key.is_some() {
            let (there, missing) = if key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
            section.problem_with(there, &format!("the {missing} that belongs to it is missing"));
        }
        let server_name = section.optional::<String>("server_name");
        section.finish();
        let certificate =
            certificate.zip(key).map(|(certificate, key)| Certificate { certificate: certificate.0, key: key.0 });
        Some(Self { ca: ca.map(|path| path.0), certificate, server_name })
    }
}

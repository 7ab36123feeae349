use super::section::Section;
use super::values::{AbsolutePath, SecretFile};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the API listens beside its local socket, and who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Address and port; TLS always.
    pub listen: SocketAddr,
    /// The certificate to show; one signed by itself is made where none is given.
    pub certificate: Option<Certificate>,
    /// Clients with a certificate of this authority may read everything; others only `/livez` and `/readyz`.
    pub client_ca: Option<PathBuf>,
}

/// A certificate chain and its key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Api {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let listen = section.or("listen", SocketAddr::from(([127, 0, 0, 1], 9180)));
        let tls = section.section("tls", |mut tls| {
            let certificate = tls.optional::<AbsolutePath>("certificate");
            let key = tls.optional::<SecretFile>("key");
            let client_ca = tls.optional::<AbsolutePath>("client_ca");
            if certificate.is_some() != key.is_some() {
                let (there, missing) = if key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
                tls.problem_with(there, &format!("the {missing} that belongs to it is missing"));
            }
            tls.finish();
            let pair =
                certificate.zip(key).map(|(certificate, key)| Certificate { certificate: certificate.0, key: key.0 });
            Some((pair, client_ca.map(|path| path.0)))
        });
        section.finish();
        let (certificate, client_ca) = tls.unwrap_or_default();
        Some(Self { listen, certificate, client_ca })
    }
}

use hostwright_core::config::tls::ClientTls;
use hostwright_core::config::values::HostPort;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error};
use std::io;
use tokio::net::TcpStream;
use tokio::task::block_in_place;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Agrees with the receiver on TLS. Certificates are read each time: they are renewed while we run.
pub async fn agree(
    stream: TcpStream,
    settings: &ClientTls,
    address: &HostPort,
) -> Result<TlsStream<TcpStream>, String> {
    let config = block_in_place(|| hostwright_core::tls::client(settings)).map_err(|error| with_source(&error))?;
    let name = settings.server_name.as_deref().unwrap_or(address.host()).to_owned();
    let server = ServerName::try_from(name.clone()).map_err(|_| {
        format!("{name:?} is no name that a certificate can have; give one with tls: {{server_name: …}}")
    })?;
    let agreed = TlsConnector::from(config).connect(server, stream).await;
    agreed.map_err(|error| format!("no agreement on TLS: {error}{}", remedy(&error)))
}

fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// What an operator can do against an error of TLS.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "; name the file of the authority that signed its certificate with tls: {ca: …}"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; give the name that its certificate has with tls: {server_name: …}",
        Some(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "; its certificate must be renewed, or this host's clock set"
        }
        Some(Error::AlertReceived(_)) => {
            "; it refuses us: perhaps it asks for a client certificate, tls: {certificate: …, key: …}"
        }
        Some(Error::InvalidMessage(_)) => "; see whether it speaks TLS at that port",
        _ => "",
    }
}

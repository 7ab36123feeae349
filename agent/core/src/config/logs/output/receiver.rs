use crate::config::proxy::Proxy;
use crate::config::section::Section;
use crate::config::tls::ClientTls;
use crate::config::values::HostPort;

/// Where a stream of bytes goes, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The receiver.
    pub address: HostPort,
    /// Whether and how what is sent is encrypted and the receiver known.
    pub tls: Option<Box<ClientTls>>,
    /// What the connection goes through.
    pub proxy: Option<Box<Proxy>>,
}

impl Receiver {
    /// Reads the keys `address`, `tls` (`{}`: the system's authorities) and `proxy`.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let address = section.required("address");
        let tls = section.section("tls", ClientTls::read).map(Box::new);
        let proxy = section.section_or_value("proxy", Proxy::read).map(Box::new);
        Some(Self { address: address?, tls, proxy })
    }
}

use super::Receiver;
use crate::config::section::Section;
use crate::config::values::{ByteSize, FromNode, mismatch};
use crate::yaml::Node;

/// What a datagram may hold so that it passes the internet in one piece, as Graylog's own senders have it.
const CHUNK: ByteSize = ByteSize(1420);

/// Graylog's format, version 1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gelf {
    /// Where it goes.
    pub receiver: Receiver,
    /// How.
    pub protocol: Protocol,
}

/// How GELF messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A stream of messages, each with a NUL byte after it.
    Tcp,
    /// Datagrams, of which nobody tells whether they arrive.
    Udp {
        /// How messages are made smaller.
        compress: Compression,
        /// The most bytes in a datagram. Longer messages take several.
        chunk: usize,
    },
}

/// How a GELF message over UDP is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1950.
    Zlib,
    /// RFC 1952.
    Gzip,
}

enum Kind {
    Tcp,
    Udp,
}

impl FromNode for Kind {
    const EXPECTED: &'static str = "tcp or udp";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("tcp") => Ok(Self::Tcp),
            Some("udp") => Ok(Self::Udp),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for Compression {
    const EXPECTED: &'static str = "none, zlib or gzip";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("none") => Ok(Self::None),
            Some("zlib") => Ok(Self::Zlib),
            Some("gzip") => Ok(Self::Gzip),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Gelf {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let receiver = Receiver::read(&mut section);
        let protocol = match section.or("protocol", Kind::Tcp) {
            Kind::Tcp => {
                section.refuse("compress", "GELF over TCP knows no compression; it is for protocol: udp");
                section.refuse("chunk", "GELF over TCP has no chunks; they are for protocol: udp");
                Protocol::Tcp
            }
            Kind::Udp => udp(&mut section, receiver.as_ref()),
        };
        section.finish();
        Some(Self { receiver: receiver?, protocol })
    }
}

fn udp(section: &mut Section<'_>, receiver: Option<&Receiver>) -> Protocol {
    if receiver.is_some_and(|receiver| receiver.tls.is_some()) {
        section.problem_with("tls", "there is no GELF with TLS over UDP; it is for protocol: tcp");
    }
    if receiver.is_some_and(|receiver| receiver.proxy.is_some()) {
        section.problem_with("proxy", "proxies take no UDP; it is for protocol: tcp");
    }
    let compress = section.or("compress", Compression::Zlib);
    let chunk = section.or("chunk", CHUNK);
    if !(512..=65_507).contains(&chunk.0) {
        section.problem_with("chunk", "between 512 and 65507 bytes, what a datagram can hold; 8154 in a local network");
    }
    Protocol::Udp { compress, chunk: usize::try_from(chunk.0).unwrap_or(usize::MAX) }
}

#[cfg(test)]
mod tests {
    use super::super::Platform;
    use super::{Compression, Gelf, Protocol};
    use crate::config::Config;

    fn read(gelf: &str) -> Result<Gelf, String> {
        let text = format!("logs:\n  outputs:\n    a: {{gelf: {gelf}}}\n");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").outputs["a"].platform.clone() {
            Platform::Gelf(gelf) => Ok(gelf),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tcp_is_the_default_and_udp_has_compression_and_chunks() {
        assert_eq!(read("{address: 'h:12201'}").expect("valid").protocol, Protocol::Tcp);
        let udp = |compress, chunk| Protocol::Udp { compress, chunk };
        let read_udp = |more: &str| read(&format!("{{address: 'h:12201', protocol: udp{more}}}")).map(|g| g.protocol);
        assert_eq!(read_udp(""), Ok(udp(Compression::Zlib, 1420)));
        assert_eq!(read_udp(", compress: none, chunk: 8154B"), Ok(udp(Compression::None, 8154)));
    }

    #[test]
    fn what_a_protocol_does_not_have_is_refused() {
        for (wrong, complaint) in [
            ("{address: 'h:1', compress: zlib}", "a.gelf.compress: GELF over TCP knows no compression"),
            ("{address: 'h:1', protocol: udp, tls: {}}", "a.gelf.tls: there is no GELF with TLS over UDP"),
            ("{address: 'h:1', protocol: udp, chunk: 100}", "a.gelf.chunk: between 512"),
            ("{address: 'h:1', protocol: udp, proxy: 'http://p:1'}", "a.gelf.proxy: proxies take no UDP"),
        ] {
            let message = read(wrong).expect_err("refused");
            assert!(message.contains(complaint), "{message}");
        }
    }
}

use super::spooled::Spooled;
use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, mismatch};
use crate::yaml::Node;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A syslog listener as a source (RFC 5424 and RFC 3164).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Addresses for TCP and UDP.
    pub listen: Vec<SocketAddr>,
    /// Which of the two, at each address.
    pub protocols: Vec<Protocol>,
    /// A datagram socket such as `/dev/log` is one.
    pub unix: Option<PathBuf>,
    /// A stream socket.
    pub unix_stream: Option<PathBuf>,
    /// So many connections at once.
    pub connections: usize,
    /// How its messages are kept until outputs have them.
    pub spooled: Spooled,
}

/// What a listener speaks at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 6587, both framings.
    Tcp,
    /// RFC 5426.
    Udp,
}

impl FromNode for Protocol {
    const EXPECTED: &'static str = "tcp or udp";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("tcp") => Ok(Self::Tcp),
            Some("udp") => Ok(Self::Udp),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Listener {
    pub(super) fn read(mut section: Section<'_>, spooled: Spooled) -> Option<Self> {
        let listen = section.list::<SocketAddr>("listen").unwrap_or_default();
        let protocols = section.list("protocols").unwrap_or_else(|| vec![Protocol::Tcp, Protocol::Udp]);
        let unix = section.optional::<AbsolutePath>("unix").map(|path| path.0);
        let unix_stream = section.optional::<AbsolutePath>("unix_stream").map(|path| path.0);
        let remote = section.or("remote", false);
        let connections = section.or("connections", 256u64);
        if listen.is_empty() && unix.is_none() && unix_stream.is_none() {
            section.problem(section.place(), "one of the keys listen, unix, unix_stream is needed");
        }
        if unix.is_some() && unix == unix_stream {
            section.problem_with("unix_stream", "a path can be one socket only; give another than under unix");
        }
        if let Some(address) = listen.iter().find(|address| !remote && !address.ip().is_loopback()) {
            let message = format!(
                "{address} can be reached from other hosts, and syslog asks nobody who he is; listen on 127.0.0.1, \
                 or add remote: true"
            );
            section.problem_with("listen", &message);
        }
        if protocols.is_empty() {
            section.problem_with("protocols", "expected tcp, udp or both");
        }
        if !(1..=10_000).contains(&connections) {
            section.problem_with("connections", "between 1 and 10000");
        }
        section.finish();
        let connections = usize::try_from(connections).unwrap_or(256);
        Some(Self { listen, protocols, unix, unix_stream, connections, spooled })
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Kind;
    use super::{Listener, Protocol};
    use crate::config::Config;

    fn read(listener: &str) -> Result<Listener, String> {
        let text = format!(
            "logs:\n  sources:\n    a: {{syslog: {listener}, outputs: [o]}}\n  outputs: {{o: {{file: {{path: /o}}}}}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").sources["a"].kind.clone() {
            Kind::Syslog(listener) => Ok(listener),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_listener_is_on_loopback_or_on_unix_sockets() {
        let both = read("{listen: '127.0.0.1:514'}").expect("valid");
        assert_eq!((both.listen.len(), both.protocols), (1, vec![Protocol::Tcp, Protocol::Udp]));
        let unix = read("{unix: /run/log.sock, protocols: udp}").expect("valid");
        assert_eq!((unix.listen.len(), unix.protocols), (0, vec![Protocol::Udp]));
    }

    #[test]
    fn others_reach_it_only_when_that_is_asked_for() {
        for (wrong, complaint) in [
            ("{}", "one of the keys listen, unix, unix_stream is needed"),
            ("{listen: '0.0.0.0:514'}", "can be reached from other hosts"),
            ("{unix: /run/a, unix_stream: /run/a}", "a path can be one socket only"),
            ("{listen: '127.0.0.1:514', protocols: [tls]}", "expected tcp or udp"),
        ] {
            let message = read(wrong).expect_err("refused");
            assert!(message.contains(complaint), "{message}");
        }
        assert!(read("{listen: '0.0.0.0:514', remote: true}").is_ok());
    }
}

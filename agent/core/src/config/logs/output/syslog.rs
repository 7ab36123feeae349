use crate::config::section::Section;
use crate::config::values::{FromNode, HostPort, mismatch};
use crate::yaml::Node;

/// Syslog over TCP (RFC 5424 messages, RFC 6587 framing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The receiver.
    pub address: HostPort,
    /// How messages are told apart in the stream.
    pub framing: Framing,
    /// APP-NAME; the source's name unless given.
    pub app_name: Option<String>,
    /// The facility's number (RFC 5424, table 1): 1 is user, 16 to 23 are local0 to local7.
    pub facility: u8,
}

/// How messages are told apart in a TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The length before each message (RFC 6587, 3.4.1): takes any content.
    OctetCounting,
    /// A newline after each message (RFC 6587, 3.4.2): newlines inside are escaped.
    Newline,
}

impl FromNode for Framing {
    const EXPECTED: &'static str = "octet-counting or newline";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("octet-counting") => Ok(Self::OctetCounting),
            Some("newline") => Ok(Self::Newline),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Syslog {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let address = section.required("address");
        let framing = section.or("framing", Framing::OctetCounting);
        let app_name = section.optional::<String>("app_name");
        if app_name.as_ref().is_some_and(|name| name.len() > 48 || !name.bytes().all(|byte| byte.is_ascii_graphic())) {
            section.problem_with(
                "app_name",
                "expected up to 48 printable ASCII characters without spaces (RFC 5424, 6.2.5)",
            );
        }
        let facility = section.or("facility", 16u64);
        if facility > 23 {
            section.problem_with("facility", "expected a facility number from 0 to 23 (RFC 5424, table 1)");
        }
        section.finish();
        Some(Self { address: address?, framing, app_name, facility: u8::try_from(facility).unwrap_or(16) })
    }
}

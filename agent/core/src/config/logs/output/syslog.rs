use super::Receiver;
use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Syslog over TCP (RFC 5424 messages, RFC 6587 framing) or TLS (RFC 5425).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Where it goes.
    pub receiver: Receiver,
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
        let receiver = Receiver::read(&mut section);
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
        Some(Self { receiver: receiver?, framing, app_name, facility: u8::try_from(facility).unwrap_or(16) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Platform;
    use super::Syslog;
    use crate::config::Config;
    use crate::config::proxy::{Kind, Login};
    use crate::config::values::HostPort;
    use crate::secret::SecretRef;

    fn read(syslog: &str) -> Result<Syslog, String> {
        let text = format!("logs:\n  outputs:\n    a: {{syslog: {syslog}}}\n");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").outputs["a"].platform.clone() {
            Platform::Syslog(syslog) => Ok(syslog),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_receiver_has_an_address_and_perhaps_tls_and_a_proxy() {
        let plain = read("{address: 'h:514'}").expect("valid").receiver;
        assert_eq!((plain.tls, plain.proxy), (None, None));
        let secured = read("{address: 'h:6514', tls: {server_name: x}, proxy: 'socks5://[::1]:1080'}").expect("valid");
        assert_eq!(secured.receiver.tls.expect("TLS").server_name.as_deref(), Some("x"));
        let proxy = secured.receiver.proxy.expect("a proxy");
        assert_eq!((proxy.kind, proxy.address.host(), proxy.address.port()), (Kind::Socks5, "::1", 1080));
        let proxy = "{url: 'http://p:3128', user: u, password: {env: P}}";
        let proxy =
            read(&format!("{{address: 'h:6514', proxy: {proxy}}}")).expect("valid").receiver.proxy.map(|proxy| *proxy);
        let login = Login { user: "u".into(), password: SecretRef::Environment("P".into()) };
        assert_eq!(proxy.map(|proxy| (proxy.address, proxy.login)), Some((HostPort("p:3128".into()), Some(login))));
    }

    #[test]
    fn a_password_in_a_url_and_a_user_without_one_are_refused() {
        for (wrong, complaint) in [
            ("'http://u:secret@p:3128'", "is not taken"),
            ("'https://p:3128'", "expected a proxy such as"),
            ("{url: 'http://p:3128', user: u}", "the password that belongs to it is missing"),
        ] {
            let message = read(&format!("{{address: 'h:1', proxy: {wrong}}}")).expect_err("refused");
            assert!(message.contains(complaint) && !message.contains("secret"), "{message}");
        }
    }
}

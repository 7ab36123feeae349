use super::section::Section;
use super::values::{FromNode, HostPort, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;

/// A proxy that connections go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How it is asked.
    pub kind: Kind,
    /// The proxy itself.
    pub address: HostPort,
    /// Who asks, where the proxy wants to know.
    pub login: Option<Login>,
}

/// How a proxy is asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With CONNECT (RFC 9110, 9.3.6).
    Http,
    /// SOCKS version 5 (RFC 1928). The proxy resolves the server's name.
    Socks5,
}

/// A user of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: SecretRef,
}

struct Url(Kind, HostPort);

impl FromNode for Url {
    const EXPECTED: &'static str = "a proxy such as http://proxy.example.org:3128 or socks5://127.0.0.1:1080";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default().trim_end_matches('/');
        if text.contains('@') {
            return Err(
                "a proxy with a password in it is not taken: write {url: …, user: …, password: {env: …}}".into()
            );
        }
        let (kind, address) = match text.split_once("://") {
            Some(("http", address)) => (Kind::Http, address),
            Some(("socks5" | "socks5h", address)) => (Kind::Socks5, address),
            _ => return Err(mismatch::<Self>(node)),
        };
        HostPort::parse(address).map(|address| Self(kind, address)).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl Proxy {
    /// Reads the keys `url`, `user` and `password`, or the URL alone.
    pub fn read(mut section: Section<'_>) -> Option<Self> {
        let url = section.required_or_shorthand::<Url>("url");
        let user = section.optional::<String>("user");
        let password = section.optional("password");
        if user.is_some() != password.is_some() {
            let (there, missing) = if user.is_some() { ("user", "password") } else { ("password", "user") };
            section.problem_with(there, &format!("the {missing} that belongs to it is missing"));
        }
        section.finish();
        let Url(kind, address) = url?;
        let login = user.zip(password).map(|(user, password)| Login { user, password });
        Some(Self { kind, address, login })
    }
}

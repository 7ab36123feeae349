use super::bulk::{Bulk, Target};
use super::{Fields, Framing, Gelf, Lumberjack, Receiver, Syslog, gelf};
use crate::config::Known;
use crate::config::endpoint::{Auth, Compress, Endpoint, HttpUrl};
use crate::config::proxy::Proxy;
use crate::config::section::Section;
use crate::config::tls::ClientTls;
use crate::config::values::{FromNode, HostPort, MaybeSecret, mismatch};
use crate::secret::{Secret, SecretRef};
use crate::yaml::{Entry, Node};
use std::collections::BTreeMap;
use std::time::Duration;

/// The host's label that chooses among several tokens.
const STREAM_BY: &str = "environment";
/// The one index that the platform's API takes documents for.
const INDEX: &str = "ldp-logs";

/// OVH's Log Data Platform: its protocols with their ports, its rules for fields, and the token that chooses the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovh {
    /// How records travel.
    pub protocol: Protocol,
    /// The stream's write token, which every record carries.
    pub token: SecretRef,
    /// Its value, once it was read.
    pub known: Option<Secret>,
}

/// How records travel to the Log Data Platform, always encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Port 5044: acknowledged.
    Lumberjack(Lumberjack),
    /// Port 9200: answered record by record.
    Bulk(Box<Bulk>),
    /// Port 12202: not acknowledged.
    Gelf(Gelf),
    /// Port 6514: not acknowledged.
    Syslog(Syslog),
    /// Port 12201: not acknowledged.
    Ltsv(Receiver),
}

impl Protocol {
    /// Where records go.
    pub fn address(&self) -> String {
        match self {
            Self::Lumberjack(settings) => settings.receiver.address.0.clone(),
            Self::Bulk(settings) => settings.endpoint.url.0.clone(),
            Self::Gelf(settings) => settings.receiver.address.0.clone(),
            Self::Syslog(settings) => settings.receiver.address.0.clone(),
            Self::Ltsv(receiver) => receiver.address.0.clone(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lumberjack,
    Bulk,
    Gelf,
    Syslog,
    Ltsv,
}

impl FromNode for Kind {
    const EXPECTED: &'static str = "lumberjack or bulk (acknowledged), gelf, syslog or ltsv (not)";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("lumberjack") => Ok(Self::Lumberjack),
            Some("bulk") => Ok(Self::Bulk),
            Some("gelf") => Ok(Self::Gelf),
            Some("syslog") => Ok(Self::Syslog),
            Some("ltsv") => Ok(Self::Ltsv),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Kind {
    /// Of the platform's shared inputs, with TLS.
    fn port(self) -> u16 {
        match self {
            Self::Lumberjack => 5044,
            Self::Bulk => 9200,
            Self::Gelf => 12202,
            Self::Syslog => 6514,
            Self::Ltsv => 12201,
        }
    }
}

/// A host with or without a port.
struct Address(String);

impl FromNode for Address {
    const EXPECTED: &'static str = "a cluster's host such as gra1.logs.ovh.com, with a port if it is not the usual one";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let fits = HostPort::parse(text).is_some() || HostPort::parse(&format!("{text}:1")).is_some();
        if fits && !text.contains('/') { Ok(Self(text.to_owned())) } else { Err(mismatch::<Self>(node)) }
    }
}

impl Ovh {
    pub(super) fn read(mut section: Section<'_>, known: &Known<'_>) -> Option<Self> {
        let address = section.required::<Address>("address");
        let kind = section.or("protocol", Kind::Lumberjack);
        let token = token(&mut section, known);
        let tls = section.section("tls", ClientTls::read).unwrap_or_default();
        let proxy = section.section_or_value("proxy", Proxy::read);
        let user = section.optional::<String>("user");
        let password = section.optional::<SecretRef>("password");
        if (kind == Kind::Bulk) != user.is_some() || user.is_some() != password.is_some() {
            let message = match kind {
                Kind::Bulk => "protocol: bulk needs user and password, those of the platform's API",
                _ => "user and password are for protocol: bulk; the others know us by the token",
            };
            section.problem_with("user", message);
        }
        section.finish();
        let address = address?.0;
        let address = HostPort::parse(&address).unwrap_or_else(|| HostPort(format!("{address}:{}", kind.port())));
        let receiver = Receiver { address, tls: Some(Box::new(tls)), proxy: proxy.map(Box::new) };
        let login = user.zip(password);
        Some(Self { protocol: protocol(kind, receiver, login), token: token?, known: None })
    }
}

fn protocol(kind: Kind, receiver: Receiver, login: Option<(String, SecretRef)>) -> Protocol {
    match kind {
        Kind::Lumberjack => Protocol::Lumberjack(Lumberjack {
            receiver,
            compression_level: 3,
            timeout: Duration::from_secs(30),
            fields: Fields::Plain,
        }),
        Kind::Gelf => Protocol::Gelf(Gelf { receiver, protocol: gelf::Protocol::Tcp }),
        Kind::Ltsv => Protocol::Ltsv(receiver),
        // Its receiver takes no counted octets.
        Kind::Syslog => Protocol::Syslog(Syslog { receiver, framing: Framing::Newline, app_name: None, facility: 16 }),
        Kind::Bulk => {
            let endpoint = Endpoint {
                url: HttpUrl(format!("https://{}", receiver.address.0)),
                tls: receiver.tls.map(|tls| *tls).unwrap_or_default(),
                proxy: receiver.proxy.map(|proxy| *proxy),
                headers: [].into(),
                auth: login.map(|(user, password)| Auth::Basic(MaybeSecret::Text(user), password)),
                timeout: Duration::from_secs(60),
                compress: Compress::Gzip,
            };
            let target = Target::Index(INDEX.to_owned());
            Protocol::Bulk(Box::new(Bulk { endpoint, target, pipeline: None, ids: false, fields: Fields::Plain }))
        }
    }
}

/// A token for each value of the host's label.
struct Tokens(BTreeMap<String, SecretRef>);

impl FromNode for Tokens {
    const EXPECTED: &'static str = "a token for each environment, such as {prod: {credential: NAME}, staging: {…}}";

    fn from_node(node: &Node) -> Result<Self, String> {
        let mapping = node.mapping().ok_or_else(|| mismatch::<Self>(node))?;
        let token = |entry: &Entry| {
            let token = SecretRef::from_node(&entry.value).map_err(|message| format!("{:?}: {message}", entry.key))?;
            Ok((entry.key.clone(), token))
        };
        mapping.entries.iter().map(token).collect::<Result<_, String>>().map(Self)
    }

    fn secrets(&self) -> Vec<SecretRef> {
        self.0.values().cloned().collect()
    }
}

/// The token, or that of the host's environment.
fn token(section: &mut Section<'_>, known: &Known<'_>) -> Option<SecretRef> {
    let token = section.optional("token");
    let tokens = section.optional::<Tokens>("tokens");
    section.exactly_one(&["token", "tokens"]);
    let Some(Tokens(mut tokens)) = tokens else { return token };
    let Some(environment) = known.labels.0.get(STREAM_BY) else {
        section.problem_with("tokens", &format!("they are chosen by host.labels.{STREAM_BY}, which is missing"));
        return None;
    };
    let chosen = tokens.remove(environment);
    if chosen.is_none() {
        let message = format!("there is none for host.labels.{STREAM_BY}: {environment}");
        section.problem_with("tokens", &message);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::Platform;
    use super::{Ovh, Protocol};
    use crate::config::Config;
    use crate::config::logs::output::Framing;
    use crate::secret::SecretRef;

    fn read(ovh: &str) -> Result<Ovh, String> {
        let text = format!("host: {{labels: {{environment: prod}}}}\nlogs:\n  outputs:\n    a: {{ovh: {ovh}}}\n");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").outputs["a"].platform.clone() {
            Platform::Ovh(ovh) => Ok(*ovh),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn address_and_token_are_enough_and_the_way_is_encrypted_and_acknowledged() {
        let ovh = read("{address: gra1.logs.ovh.com, token: {credential: ldp}}").expect("valid");
        assert_eq!(ovh.token, SecretRef::Credential("ldp".into()));
        let Protocol::Lumberjack(lumberjack) = ovh.protocol else { panic!("{ovh:?}") };
        assert_eq!(lumberjack.receiver.address.0, "gra1.logs.ovh.com:5044");
        assert!(lumberjack.receiver.tls.is_some());
    }

    #[test]
    fn each_protocol_has_its_port_and_its_ways() {
        let gelf = read("{address: gra1.logs.ovh.com, token: {env: T}, protocol: gelf}").expect("valid");
        let Protocol::Gelf(gelf) = gelf.protocol else { panic!("{gelf:?}") };
        assert_eq!(gelf.receiver.address.0, "gra1.logs.ovh.com:12202");
        let syslog = read("{address: 'h:1', token: {env: T}, protocol: syslog}").expect("valid");
        let Protocol::Syslog(syslog) = syslog.protocol else { panic!("{syslog:?}") };
        assert_eq!((syslog.receiver.address.0.as_str(), syslog.framing), ("h:1", Framing::Newline));
        let bulk = "{address: gra1.logs.ovh.com, token: {env: T}, protocol: bulk, user: u, password: {env: P}}";
        let Protocol::Bulk(bulk) = read(bulk).expect("valid").protocol else { panic!("not bulk") };
        assert_eq!(bulk.endpoint.url.0, "https://gra1.logs.ovh.com:9200");
    }

    #[test]
    fn the_hosts_environment_chooses_the_stream() {
        let ovh = read("{address: h, tokens: {dev: {env: D}, prod: {env: P}}}").expect("valid");
        assert_eq!(ovh.token, SecretRef::Environment("P".into()));
        let message = read("{address: h, tokens: {dev: {env: D}}}").expect_err("refused");
        assert!(message.contains("a.ovh.tokens: there is none for host.labels.environment: prod"), "{message}");
    }

    #[test]
    fn what_would_not_work_is_refused_and_no_token_is_shown() {
        for (wrong, complaint) in [
            ("{address: h}", "one of the keys token, tokens is needed"),
            ("{address: h, token: hunter2}", "a reference to a secret"),
            ("{address: h, tokens: {prod: hunter2}}", "\"prod\": expected a reference to a secret"),
            ("{address: h, token: {env: T}, protocol: bulk}", "needs user and password"),
            ("{address: h, token: {env: T}, user: u, password: {env: P}}", "are for protocol: bulk"),
            ("{address: 'https://h', token: {env: T}}", "a cluster's host such as"),
        ] {
            let message = read(wrong).expect_err("refused");
            assert!(message.contains(complaint) && !message.contains("hunter2"), "{message}");
        }
    }
}

use crate::secret::{Secret, SecretError, SecretRef};
use crate::yaml::{Entry, Node, Scalar};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A type that one value of the file is read into.
pub trait FromNode: Sized {
    /// What an operator should write, to stand after "expected".
    const EXPECTED: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// A sentence: what was expected and what was found.
    fn from_node(node: &Node) -> Result<Self, String>;

    /// The secrets that it refers to.
    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }
}

/// "expected …, found …" for a value that does not fit.
pub fn mismatch<T: FromNode>(node: &Node) -> String {
    match node.text() {
        Some(text) if text.chars().count() <= 60 && !node.is_null() => {
            format!("expected {}, found {text:?}", T::EXPECTED)
        }
        _ => format!("expected {}, found {}", T::EXPECTED, node.kind()),
    }
}

impl FromNode for String {
    const EXPECTED: &'static str = "a string";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.scalar() {
            Some(Scalar::Bool(value)) => Ok(value),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.scalar() {
            Some(Scalar::Int(value)) => Self::try_from(value).map_err(|_| mismatch::<Self>(node)),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for Duration {
    const EXPECTED: &'static str = "a duration such as 30s, 10m, 12h or 7d";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(parse_duration).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// `<number><unit>` with the units ms, s, m, h, d; several may follow one another (`1h30m`).
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ms" => {
                total = total.checked_add(Duration::from_millis(number))?;
                0
            }
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            _ => return None,
        };
        total = total.checked_add(Duration::from_secs(number.checked_mul(seconds)?))?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromNode for ByteSize {
    const EXPECTED: &'static str = "a size such as 512KiB, 100MB or 2GiB";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(parse_size).map(Self).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// `<number><unit>`: decimal (MB) and binary (MiB, or M) units; no unit means bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "TiB" | "T" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// An absolute path: a daemon has no current folder that an operator could know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath(pub PathBuf);

impl FromNode for AbsolutePath {
    const EXPECTED: &'static str = "an absolute path such as /etc/hostwright/compose.yaml";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some(text) if text.starts_with('/') && !text.contains('\0') => Ok(Self(text.into())),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl FromNode for SocketAddr {
    const EXPECTED: &'static str = "an address and port such as 0.0.0.0:9100 or [::]:9100";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(|text| text.parse().ok()).ok_or_else(|| mismatch::<Self>(node))
    }
}

/// A host name or address with a port, to connect to; resolved at each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort(pub String);

impl HostPort {
    /// Reads it of a text.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host_fits = !host.is_empty()
            && !host.contains(char::is_whitespace)
            && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
        let fits = host_fits && port.parse::<u16>().is_ok_and(|port| port > 0);
        fits.then(|| Self(text.to_owned()))
    }

    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }
}

impl FromNode for HostPort {
    const EXPECTED: &'static str = "a host and port such as logs.example.org:6514";

    fn from_node(node: &Node) -> Result<Self, String> {
        node.text().and_then(Self::parse).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl FromNode for SecretRef {
    const EXPECTED: &'static str = "a reference to a secret: {credential: NAME}, {env: VARIABLE} or {file: /path}";

    fn from_node(node: &Node) -> Result<Self, String> {
        // What was found is named by its kind alone: it may be the secret itself.
        let refused = || Err(format!("expected {}, found {}", Self::EXPECTED, node.kind()));
        let Some([entry]) = node.mapping().map(|mapping| &mapping.entries[..]) else { return refused() };
        match (entry.key.as_str(), entry.value.text()) {
            ("credential", Some(name)) if !name.is_empty() && !name.contains('/') => {
                Ok(Self::Credential(name.to_owned()))
            }
            ("env", Some(name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
            ("file", Some(path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => refused(),
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        vec![self.clone()]
    }
}

/// A file that is a secret, such as a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(pub PathBuf);

impl FromNode for SecretFile {
    const EXPECTED: &'static str = AbsolutePath::EXPECTED;

    fn from_node(node: &Node) -> Result<Self, String> {
        AbsolutePath::from_node(node).map(|path| Self(path.0))
    }

    fn secrets(&self) -> Vec<SecretRef> {
        vec![SecretRef::File(self.0.clone())]
    }
}

/// A value that an operator may not want everybody to read: in the file itself, or by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MaybeSecret {
    /// Everybody who reads the file may know it.
    Text(String),
    /// A reference.
    Secret(SecretRef),
}

impl FromNode for MaybeSecret {
    const EXPECTED: &'static str =
        "a string, or a reference to a secret: {credential: NAME}, {env: VARIABLE} or {file: /path}";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some(_) => String::from_node(node).map(Self::Text),
            None => SecretRef::from_node(node).map(Self::Secret),
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Secret(reference) => vec![reference.clone()],
        }
    }
}

impl MaybeSecret {
    /// The value.
    ///
    /// # Errors
    /// The secret is not there or cannot be read.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Text(text) => Ok(Secret::new(text.clone())),
            Self::Secret(reference) => reference.resolve(),
        }
    }
}

/// Labels: names with values, put on every log line, metric and product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub BTreeMap<String, String>);

impl FromNode for Labels {
    const EXPECTED: &'static str = "labels such as {environment: prod, role: backend}";

    fn from_node(node: &Node) -> Result<Self, String> {
        let mapping = node.mapping().ok_or_else(|| mismatch::<Self>(node))?;
        all_or_why(mapping.entries.iter().map(label)).map(Self)
    }
}

fn label(entry: &Entry) -> Result<(String, String), String> {
    // Prometheus' rule for label names, the strictest of the places where labels go.
    let first = entry.key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !first || !entry.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("{:?} cannot be a label's name: use letters, digits and '_', no digit first", entry.key));
    }
    let value = entry.value.text();
    let value =
        value.ok_or_else(|| format!("the label {:?} takes a string, found {}", entry.key, entry.value.kind()))?;
    Ok((entry.key.clone(), value.to_owned()))
}

/// Reads a list, or one value in place of a list of one, and tells of each item that does not fit.
pub fn list_or_one<T: FromNode>(node: &Node) -> Result<Vec<T>, String> {
    match node.sequence() {
        Some(items) => all_or_why(items.iter().map(T::from_node)),
        None => T::from_node(node).map(|item| vec![item]),
    }
}

/// All of them, or what is wrong with each that is wrong.
fn all_or_why<T, All: FromIterator<T>>(items: impl Iterator<Item = Result<T, String>>) -> Result<All, String> {
    let (mut fit, mut wrong) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Ok(item) => fit.push(item),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(fit.into_iter().collect()) } else { Err(wrong.join("; ")) }
}

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl FromNode for Names {
    const EXPECTED: &'static str = "a list of names such as [ldp, archive]";

    fn from_node(node: &Node) -> Result<Self, String> {
        let items = node.sequence().ok_or_else(|| mismatch::<Self>(node))?;
        items.iter().map(String::from_node).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, parse_size};
    use std::time::Duration;

    #[test]
    fn durations_take_units_and_nothing_else() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for wrong in ["", "7", "d", "7 d", "-1s", "7y", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_tell_decimal_from_binary_units() {
        assert_eq!(parse_size("2KiB"), Some(2048));
        assert_eq!(parse_size("2kB"), Some(2000));
        assert_eq!(parse_size("17179869184GiB"), None);
    }
}

use super::tree::{At, Map, Tree, Value};
use std::net::IpAddr;

/// One port of a short form: `[[address:]host:]container[/protocol]`, where both may be ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    address: String,
    /// A number, or a range of which the engine chooses one.
    host: String,
    container: u16,
    protocol: String,
}

/// Reads the short form as Compose does, in its order: by the text of the container's port.
pub fn parse(spec: &str) -> Result<Vec<PortSpec>, String> {
    let wrong = |why: &str| format!("expected a port such as 8080:80 or 127.0.0.1:8080:80/tcp, found {spec:?}: {why}");
    let parts: Vec<&str> = spec.split(':').collect();
    let (address, host, container) = match parts[..] {
        [container] => (String::new(), "", container),
        [host, container] => (String::new(), host, container),
        [ref address @ .., host, container] => (address.join(":"), host, container),
        [] => return Err(wrong("nothing is there")),
    };
    let address = read_address(&address).ok_or_else(|| wrong("the address is not one"))?;
    let (container, protocol) = match container.split_once('/') {
        Some((container, "")) => (container, "tcp"),
        Some((container, protocol)) => (container, protocol),
        None => (container, "tcp"),
    };
    let protocol = protocol.to_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(wrong("the protocol is not tcp, udp or sctp"));
    }
    let (first, last) = range(container).ok_or_else(|| wrong("the container's port is not a port or a range"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| wrong("the host's port is not a port or a range"))?),
    };
    if hosts.is_some_and(|(from, to)| to - from != last - first) && first != last {
        return Err(wrong("the ranges have different lengths"));
    }
    let mut ports: Vec<PortSpec> = (0..=(last - first))
        .map(|step| {
            let host = match hosts {
                None => String::new(),
                Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
                Some((from, _)) => (from + step).to_string(),
            };
            PortSpec { address: address.clone(), host, container: first + step, protocol: protocol.clone() }
        })
        .collect();
    ports.sort_by_cached_key(|port| format!("{}/{}", port.container, port.protocol));
    Ok(ports)
}

/// How many ports a short form stands for, as far as it can be read.
pub fn count(spec: &str) -> usize {
    let container = spec.rsplit(':').next().unwrap_or_default();
    let container = container.split('/').next().unwrap_or_default();
    range(container).map_or(1, |(first, last)| usize::from(last - first) + 1)
}

fn read_address(text: &str) -> Option<String> {
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if text.contains(':') => return None,
        None => text,
    };
    (bare.is_empty() || bare.parse::<IpAddr>().is_ok()).then(|| bare.to_owned())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let mut parts = text.split('-');
    let first = digits(parts.next()?)?;
    let last = parts.next().map_or(Some(first), digits)?;
    (first <= last).then_some((first, last))
}

impl PortSpec {
    /// The long form.
    pub fn into_tree(self, at: At) -> Tree {
        let mut long = Map::new();
        let mut put = |key: &str, value: Value| long.insert(key.to_owned(), Tree::new(at, value));
        put("mode", Value::Text("ingress".into()));
        put("protocol", Value::Text(self.protocol));
        if !self.address.is_empty() {
            put("host_ip", Value::Text(self.address));
        }
        if self.container > 0 {
            put("target", Value::Int(self.container.into()));
        }
        if !self.host.is_empty() {
            put("published", Value::Text(self.host));
        }
        Tree::new(at, Value::Map(long))
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn shown(spec: &str) -> Vec<String> {
        let ports = parse(spec).expect(spec);
        ports.iter().map(|p| format!("{}|{}|{}|{}", p.address, p.host, p.container, p.protocol)).collect()
    }

    #[test]
    fn every_short_form_is_read() {
        assert_eq!(shown("80"), ["||80|tcp"]);
        assert_eq!(shown("127.0.0.1:8080:80/UDP"), ["127.0.0.1|8080|80|udp"]);
        assert_eq!(shown("[::1]::80"), ["::1||80|tcp"]);
        assert_eq!(shown("8000-8001:9999-10000"), ["|8001|10000|tcp", "|8000|9999|tcp"]);
        assert_eq!(shown("8000-8005:80"), ["|8000-8005|80|tcp"]);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for wrong in ["", "x", "80:x", "99999", "1-2:3-5", "::1:80:80", "80/icmp", "5-3", "1.2.3:80:80"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

use super::Config;
use super::logs::output::Platform;
use super::logs::source::Kind;
use super::metrics::listen::Listen;
use super::section::Problems;
use crate::config::logs::listener::Protocol;
use crate::yaml::{Node, Place};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Notes what each section for itself may have, and all together may not.
pub fn find(config: &Config, root: &Node, problems: &Problems) {
    ports_listened_on_twice(config, root, problems);
    files_written_by_two(config, root, problems);
}

/// Somebody who listens.
struct Listener {
    keys: Vec<String>,
    protocol: Protocol,
    address: SocketAddr,
}

fn ports_listened_on_twice(config: &Config, root: &Node, problems: &Problems) {
    let all = listeners(config);
    for (at, second) in all.iter().enumerate() {
        let is_taken = |first: &&Listener| first.protocol == second.protocol && meet(first.address, second.address);
        if let Some(first) = all[..at].iter().find(is_taken) {
            let message = format!(
                "{} cannot be listened on: {} has {} already; give another port",
                second.address,
                first.keys.join("."),
                first.address
            );
            problems.note(place(root, &second.keys), &second.keys.join("."), message);
        }
    }
}

fn listeners(config: &Config) -> Vec<Listener> {
    let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let mut all = Vec::new();
    if let Some(Listen::Addresses(addresses)) = config.metrics.as_ref().map(|metrics| &metrics.listen) {
        let of = |&address| Listener { keys: keys(&["metrics", "listen"]), protocol: Protocol::Tcp, address };
        all.extend(addresses.iter().map(of));
    }
    if let Some(api) = &config.api {
        all.push(Listener { keys: keys(&["api", "listen"]), protocol: Protocol::Tcp, address: api.listen });
    }
    for (name, source) in config.logs.iter().flat_map(|logs| &logs.sources) {
        let Kind::Syslog(syslog) = &source.kind else { continue };
        for (&address, &protocol) in syslog.listen.iter().flat_map(|at| syslog.protocols.iter().map(move |p| (at, p))) {
            all.push(Listener { keys: keys(&["logs", "sources", name, "syslog", "listen"]), protocol, address });
        }
    }
    all
}

/// Whether the kernel gives only one of them a socket. Port 0 is a new one each time.
fn meet(a: SocketAddr, b: SocketAddr) -> bool {
    // A socket of [::] takes IPv4 too.
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// The file outputs, with their names.
fn file_outputs(config: &Config) -> Vec<(&str, &Path)> {
    let mut found = Vec::new();
    for (name, output) in config.logs.iter().flat_map(|logs| &logs.outputs) {
        if let Platform::File(path) = &output.platform {
            found.push((name.as_str(), path.as_path()));
        }
    }
    found
}

fn files_written_by_two(config: &Config, root: &Node, problems: &Problems) {
    let outputs = file_outputs(config);
    for (at, (name, path)) in outputs.iter().enumerate() {
        if let Some((first, _)) = outputs[..at].iter().find(|(_, other)| other == path) {
            let keys = ["logs", "outputs", name, "file", "path"];
            let message = format!("the output {first:?} writes this file already; give both sources that one output");
            problems.note(place(root, &keys), &keys.join("."), message);
        }
    }
}

/// Where the value under these keys stands, or what is nearest above it.
fn place(root: &Node, keys: &[impl AsRef<str>]) -> Place {
    let mut node = root;
    for key in keys {
        let Some(below) = node.get(key.as_ref()) else { break };
        node = below;
    }
    node.place
}

#[cfg(test)]
mod tests {
    use super::meet;
    use crate::config::Config;

    fn problems(text: &str) -> String {
        Config::parse(text, "agent.yaml").map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_port_is_listened_on_by_one_section() {
        let told = problems("metrics: {}\napi: {listen: '127.0.0.1:9100'}\n");
        assert_eq!(
            told,
            "agent.yaml:2:15: api.listen: 127.0.0.1:9100 cannot be listened on: metrics.listen has 0.0.0.0:9100 \
             already; give another port"
        );
        let syslog = |of: &str| format!("{{syslog: {{listen: '127.0.0.1:5514'{of}}}, outputs: [o]}}");
        let logs = |a: &str, b: &str| {
            let (a, b) = (syslog(a), syslog(b));
            problems(&format!("logs:\n  sources:\n    a: {a}\n    b: {b}\n  outputs: {{o: {{file: {{path: /o}}}}}}\n"))
        };
        assert!(logs("", "").contains("agent.yaml:4:26: logs.sources.b.syslog.listen: 127.0.0.1:5514 cannot"));
        assert_eq!(logs(", protocols: tcp", ", protocols: udp"), "");
        assert_eq!(problems("metrics: {listen: '127.0.0.1:0'}\napi: {listen: '127.0.0.1:0'}\n"), "");
    }

    #[test]
    fn addresses_meet_where_one_is_every_address() {
        for (a, b, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("10.0.0.1:1", "127.0.0.1:1", false),
            ("127.0.0.1:1", "127.0.0.1:2", false),
        ] {
            assert_eq!(meet(a.parse().expect("a"), b.parse().expect("b")), expected, "{a} {b}");
        }
    }

    #[test]
    fn no_file_is_written_by_two_outputs() {
        let logs = |outputs: &str| {
            problems(&format!("logs:\n  sources:\n    a: {{files: [/x], outputs: [o]}}\n  outputs: {{{outputs}}}\n"))
        };
        let told = logs("o: {file: {path: /var/log/o.log}}, p: {file: {path: /var/log/o.log}}");
        assert!(told.contains("logs.outputs.p.file.path: the output \"o\" writes this file already"), "{told}");
        assert_eq!(logs("o: {file: {path: /var/log/o.log}}, p: {file: {path: /var/log/p.log}}"), "");
    }
}

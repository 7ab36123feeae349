use super::interfaces::Interfaces;
use crate::host_ports::table::{Listen, Protocol, Route, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Marks the tracked connections that are ours: one bit of 32, so that marks of others stay.
pub const MARK: u32 = 0x0800_0000;
/// Before the engine's own rules, which stand at -100.
const PRIORITY: i32 = -110;
/// The table of the host's agent; `packaging/deb/prerm` removes it by this name.
const TABLE: &str = "hostwright";

/// What is done with the new connections from other hosts to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    listen: Listen,
    /// By container. They take turns.
    targets: BTreeMap<String, SocketAddr>,
    /// Where the containers are. What comes from there would be answered without the kernel seeing it.
    interfaces: BTreeSet<String>,
    /// Whether connections are being moved from a container to the host itself. The kernel knows none of these until they
    /// have spoken, and must not take them for new ones meanwhile.
    is_moving: bool,
}

/// The table's name for an agent with this runtime folder.
pub fn table(runtime: &Path) -> String {
    if runtime == Path::new(crate::runtime_folder::RUNTIME_DIRECTORY) {
        return TABLE.to_owned();
    }
    // FNV-1a.
    let hash =
        runtime.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{TABLE}-{hash:016x}")
}

/// The rules for the ports that the kernel can take: those that other hosts may reach at all, and each of whose
/// containers answers by way of this host.
pub fn of(routes: &[&Route], interfaces: &Interfaces) -> Vec<Rule> {
    let rule = |route: &&Route| {
        let IpAddr::V4(address) = route.listen.address.ip() else { return None };
        let active: Vec<&Target> = route.targets.iter().filter(|target| !target.draining).collect();
        let direct = |target: &&Target| {
            let address = target.direct.filter(SocketAddr::is_ipv4)?;
            Some((target.id.clone(), address, interfaces.of(address)?.to_owned()))
        };
        let all = active.iter().map(direct).collect::<Option<Vec<_>>>()?;
        if all.is_empty() || address.is_loopback() {
            return None;
        }
        let interfaces = all.iter().map(|(_, _, interface)| interface.clone()).collect();
        let targets = all.into_iter().map(|(id, address, _)| (id, address)).collect();
        let is_moving = active.len() < route.targets.len();
        Some(Rule { listen: route.listen, targets, interfaces, is_moving })
    };
    routes.iter().filter_map(rule).collect()
}

/// The rules once these containers are gone.
pub fn without(rules: &[Rule], containers: &BTreeSet<String>) -> Vec<Rule> {
    let left = |rule: &Rule| {
        let targets: BTreeMap<_, _> =
            rule.targets.iter().filter(|(id, _)| !containers.contains(*id)).map(|(id, at)| (id.clone(), *at)).collect();
        (!targets.is_empty()).then(|| Rule { targets, ..rule.clone() })
    };
    rules.iter().filter_map(left).collect()
}

/// What makes them the rules, in one step of the kernel: a packet meets the old ones or the new ones.
pub fn script(table: &str, rules: &[Rule]) -> String {
    let mut script = format!(
        "add table ip {table}\n\
         add chain ip {table} prerouting {{ type nat hook prerouting priority {PRIORITY} ; policy accept ; }}\n\
         flush chain ip {table} prerouting\n"
    );
    for rule in rules {
        // Writing to a string does not fail.
        let _ = writeln!(script, "add rule ip {table} prerouting {}", line(rule));
    }
    script
}

/// What removes them, whether they are there or not.
pub fn removal(table: &str) -> String {
    format!("add table ip {table}\ndelete table ip {table}\n")
}

fn line(rule: &Rule) -> String {
    let interfaces: Vec<String> = std::iter::once("lo")
        .chain(rule.interfaces.iter().map(String::as_str))
        .map(|name| format!("\"{name}\""))
        .collect();
    let address = match rule.listen.address.ip() {
        address if address.is_unspecified() => String::new(),
        address => format!("ip daddr {address} "),
    };
    let (protocol, port) = (rule.listen.protocol, rule.listen.address.port());
    let begins = if rule.is_moving && protocol == Protocol::Tcp { " tcp flags & (syn | ack) == syn" } else { "" };
    let targets: Vec<&SocketAddr> = rule.targets.values().collect();
    let to = match targets.as_slice() {
        [one] => format!("dnat to {one}"),
        several => {
            let one = |(turn, target): (usize, &&SocketAddr)| format!("{turn} : {} . {}", target.ip(), target.port());
            let turns: Vec<String> = several.iter().enumerate().map(one).collect();
            format!("dnat ip to numgen inc mod {} map {{ {} }}", several.len(), turns.join(", "))
        }
    };
    format!(
        "iifname != {{ {} }} {address}fib daddr type local {protocol} dport {port}{begins} ct mark set ct mark or {MARK:#x} {to}",
        interfaces.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{of, script, table, without};
    use crate::host_ports::kernel::interfaces::Interfaces;
    use crate::host_ports::table::{Listen, Protocol, Route, Target};
    use std::path::Path;

    fn route(listen: &str, targets: &[(&str, bool)]) -> Route {
        let target = |(address, draining): &(&str, bool)| {
            let address: std::net::SocketAddr = address.parse().expect("address");
            Target { id: address.to_string(), address, draining: *draining, direct: Some(address) }
        };
        let listen = Listen { protocol: Protocol::Tcp, address: listen.parse().expect("address") };
        Route { listen, targets: targets.iter().map(target).collect() }
    }

    fn interfaces() -> Interfaces {
        let routes = "br-1 0000000A 00000000 1 0 0 0 000000FF 0 0 0\n";
        Interfaces::read(routes)
    }

    fn rules(route: &Route) -> String {
        let text = script("t", &of(&[route], &interfaces()));
        text.lines().skip(3).map(|line| line.replace("add rule ip t prerouting ", "")).collect()
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn only_what_other_hosts_may_reach_goes_to_containers_that_can_answer_them() {
        const TO: &str = "fib daddr type local tcp dport 80 ct mark set ct mark or 0x8000000 dnat to 10.0.0.2:8080";
        let any = route("0.0.0.0:80", &[("10.0.0.2:8080", false), ("10.0.0.3:8080", true)]);
        let begins = TO.replace("dport 80", "dport 80 tcp flags & (syn | ack) == syn");
        assert_eq!(rules(&any), format!(r#"iifname != {{ "lo", "br-1" }} {begins}"#));
        let drained = route("0.0.0.0:80", &[("10.0.0.2:8080", false)]);
        assert_eq!(
            rules(&drained),
            rules(&any).replace(" tcp flags & (syn | ack) == syn", ""),
            "any packet begins one"
        );
        let one = route("192.0.2.1:80", &[("10.0.0.2:8080", false)]);
        assert_eq!(rules(&one), format!(r#"iifname != {{ "lo", "br-1" }} ip daddr 192.0.2.1 {TO}"#));
        let two = route("0.0.0.0:80", &[("10.0.0.2:8080", false), ("10.0.0.3:8080", false)]);
        assert!(rules(&two).ends_with("dnat ip to numgen inc mod 2 map { 0 : 10.0.0.2 . 8080, 1 : 10.0.0.3 . 8080 }"));
        let gone = ["10.0.0.2:8080".to_owned()].into();
        let left = script("t", &without(&of(&[&two], &interfaces()), &gone));
        assert!(left.trim_end().ends_with("dnat to 10.0.0.3:8080"), "{left}");
        assert!(without(&of(&[&any], &interfaces()), &gone).is_empty());
        for none in [
            route("127.0.0.1:80", &[("10.0.0.2:80", false)]),
            route("127.1.2.3:80", &[("10.0.0.2:80", false)]),
            route("[::]:80", &[("10.0.0.2:80", false)]),
            route("0.0.0.0:80", &[]),
            route("0.0.0.0:80", &[("10.0.0.2:80", true)]),
            // Not on this host.
            route("0.0.0.0:80", &[("10.0.0.2:80", false), ("11.0.0.2:80", false)]),
        ] {
            assert_eq!(rules(&none), "", "{none:?}");
        }
        let mut indirect = any;
        indirect.targets.iter_mut().for_each(|target| target.direct = None);
        assert_eq!(rules(&indirect), "");
    }

    #[test]
    fn the_hosts_own_agent_has_the_table_that_the_package_removes() {
        assert_eq!(table(Path::new(crate::runtime_folder::RUNTIME_DIRECTORY)), "hostwright");
        assert_ne!(table(Path::new("/tmp/a")), table(Path::new("/tmp/b")));
    }
}

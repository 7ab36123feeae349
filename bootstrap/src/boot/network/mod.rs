//! The network that a datasource describes → files of systemd-networkd, ifupdown or NetworkManager.
//!
//! In: network-config of version 1 or 2, or OpenStack's `network_data.json`, and the names and addresses of this
//! machine's interfaces. Out: `.network`, `.netdev` and `.link` files (or a file of interfaces(5), or connections), equal in
//! effect to what cloud-init writes, and what is wrong with the description, each with line and column. They survive
//! restarts; they are written once for the instance, and again when the description changes. What is wrong with one
//! interface is no reason to leave out others.

/// Addresses, prefixes and routes.
mod address;
/// ifupdown's file.
mod ifupdown;
/// This machine's interfaces.
mod interfaces;
/// NetworkManager's connections.
mod keyfile;
/// Who sets up the network of this image.
mod manager;
/// systemd-networkd's `.netdev` files.
mod netdev;
/// What netplan knows beyond cloud-init.
mod netplan;
/// OpenStack's `network_data.json`
mod network_data;
/// systemd-networkd's `.network` and `.link` files.
mod networkd;
/// systemd-networkd's sections.
mod sections;
/// What is wanted of the network.
mod state;
/// The files written.
mod step;
/// network-config, version 1.
mod version_1;
/// network-config, version 2.
mod version_2;

pub use interfaces::Interfaces;
pub use manager::Manager;
pub use networkd::File;
pub use step::WriteNetwork;

use super::datasource::Network;
use hostwright_core::config::section::{Problem, Problems};
use hostwright_core::yaml::{self, Duplicates, Node, Scalar};
use state::State;

/// Files, and what is wrong with the description that they were made of.
pub struct Rendered {
    /// To be written.
    pub files: Vec<File>,
    /// What could not be made into files.
    pub problems: Vec<Problem>,
}

/// What a text describes, by its keys: a network-config, whether it says of which version or not, or OpenStack's
/// `network_data.json`.
pub fn described(text: &str) -> Option<Network> {
    let document = yaml::load(text, Duplicates::LastWins).ok()?;
    let has = |node: &Node, key: &str| node.get(key).is_some();
    if has(&document.root, "links") && has(&document.root, "networks") {
        return Some(Network::NetworkData(text.to_owned()));
    }
    let root = document.root.get("network").unwrap_or(&document.root);
    let is_config = has(root, "version") && !has(&document.root, "services")
        || is_disabled(root)
        || ["ethernets", "bonds", "bridges", "vlans", "wifis"].iter().any(|key| has(root, key));
    is_config.then(|| Network::Config(text.to_owned()))
}

/// `config: disabled` leaves the network as the image has it.
fn is_disabled(root: &Node) -> bool {
    root.get("config").and_then(Node::text) == Some("disabled")
}

/// Makes files of systemd-networkd of a description. Nothing is touched.
pub fn render(network: &Network, interfaces: &Interfaces) -> Rendered {
    render_for(Manager::Networkd, network, interfaces)
}

/// Makes files of a description. Nothing is touched.
pub fn render_for(manager: Manager, network: &Network, interfaces: &Interfaces) -> Rendered {
    let problems = Problems::default();
    let text = match network {
        Network::Config(text) | Network::NetworkData(text) => text,
    };
    let mut state = State::default();
    match yaml::load(text, Duplicates::LastWins) {
        Err(error) => problems.note(error.place, "", error.message),
        Ok(document) => match network {
            Network::NetworkData(_) => network_data::read(&document.root, interfaces, &mut state, &problems),
            Network::Config(_) => read_config(&document.root, interfaces, &mut state, &problems),
        },
    }
    let files = match manager {
        Manager::Networkd => networkd::files(&state, interfaces),
        Manager::Ifupdown => {
            let content = ifupdown::file(&state, interfaces, &problems);
            [networkd::names(&state, interfaces), vec![File { name: ifupdown::NAME.to_owned(), content }]].concat()
        }
        Manager::NetworkManager => [networkd::names(&state, interfaces), keyfile::files(&state, &problems)].concat(),
        Manager::Wicked => Vec::new(),
    };
    Rendered { files, problems: problems.into_sorted() }
}

/// Keys and kinds of links of a description that nobody knows, as sentences.
pub fn left_out(network: &Network) -> Vec<String> {
    let problems = render(network, &Interfaces::default()).problems;
    let unknown = problems.iter().filter(|problem| network_data::is_only_told(problem));
    unknown.map(|problem| format!("network-config:{problem}")).collect()
}

fn read_config(root: &Node, interfaces: &Interfaces, state: &mut State, problems: &Problems) {
    let root = root.get("network").unwrap_or(root);
    if is_disabled(root) || root.is_null() {
        return;
    }
    match root.get("version").map(Node::scalar) {
        Some(Some(Scalar::Int(1))) => version_1::read(root, state, problems),
        Some(Some(Scalar::Int(2))) => version_2::read(root, interfaces, state, problems),
        _ => problems.note(
            root.place,
            "version",
            "expected the version of a network-config: version: 1 or version: 2".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Interfaces, Manager, described, left_out, render, render_for};
    use crate::boot::datasource::Network;

    fn files(network: &Network) -> Vec<(String, String)> {
        let interfaces = Interfaces(vec![("ens3".into(), "fa:16:3e:00:00:01".into())]);
        let rendered = render(network, &interfaces);
        assert!(rendered.problems.is_empty(), "{:?}", rendered.problems);
        rendered.files.into_iter().map(|file| (file.name, file.content.trim_end().to_owned())).collect()
    }

    #[test]
    fn an_address_with_gateway_and_name_servers_becomes_a_network_file() {
        let text = "version: 1\nconfig:\n- type: physical\n  name: eth0\n  mtu: 1400\n  subnets:\n  - {type: static, address: 10.0.0.2/24, gateway: 10.0.1.1, dns_nameservers: [9.9.9.9], dns_search: [a.example]}\n- {type: nameserver, address: 1.1.1.1}\n";
        assert_eq!(
            files(&Network::Config(text.into())),
            [(
                "10-hostwright-eth0.network".into(),
                "[Address]\nAddress=10.0.0.2/24\n\n[Link]\nMTUBytes=1400\n\n[Match]\nName=eth0\n\n[Network]\nDHCP=no\nDNS=1.1.1.1\nDNS=9.9.9.9\nDomains=a.example\n\n[Route]\nGateway=10.0.1.1\nGatewayOnLink=yes".into()
            )]
        );
    }

    #[test]
    fn bonds_bridges_and_vlans_get_devices_and_members() {
        let text = "network:\n  version: 2\n  ethernets: {a: {}, b: {match: {macaddress: 'fa:16:3e:00:00:01'}, set-name: lan0}}\n  bonds: {bond0: {interfaces: [a, b], parameters: {mode: 802.3ad, mii-monitor-interval: 100}}}\n  vlans: {v7: {id: 7, link: bond0, addresses: [10.7.0.1/24]}}\n  bridges: {br0: {interfaces: [v7], parameters: {stp: false}}}\n";
        let files = files(&Network::Config(text.into()));
        let of = |name: &str| &files.iter().find(|(file, _)| file == name).expect(name).1;
        assert_eq!(
            of("10-hostwright-bond0.netdev"),
            "[Bond]\nMIIMonitorSec=100ms\nMode=802.3ad\n\n[NetDev]\nKind=bond\nName=bond0"
        );
        assert!(of("10-hostwright-bond0.network").contains("VLAN=v7"));
        assert!(of("10-hostwright-lan0.network").contains("Bond=bond0"));
        assert!(of("10-hostwright-lan0.link").contains("PermanentMACAddress=fa:16:3e:00:00:01"));
        assert!(of("10-hostwright-v7.network").contains("Bridge=br0"));
        assert_eq!(of("10-hostwright-br0.netdev"), "[Bridge]\nSTP=no\n\n[NetDev]\nKind=bridge\nName=br0");
    }

    #[test]
    fn an_address_that_a_template_left_empty_is_none_and_others_are_in_small_letters() {
        let text = "version: 1\nconfig:\n- {type: physical, name: eth0, mac_address: '', subnets: [{type: dhcp}]}\n- {type: physical, name: eth1, mac_address: 'FA:16:3E:00:00:0B'}\n";
        let named: Vec<_> = files(&Network::Config(text.into())).into_iter().map(|(name, _)| name).collect();
        assert_eq!(named, ["10-hostwright-eth0.network", "10-hostwright-eth1.network", "10-hostwright-eth1.link"]);
        let contents: String = files(&Network::Config(text.into())).into_iter().map(|(_, content)| content).collect();
        assert!(
            contents.contains("[Match]\nName=eth0\n") && contents.contains("MACAddress=fa:16:3e:00:00:0b\nName=eth1")
        );
    }

    #[test]
    fn what_a_file_describes_is_seen_by_its_keys() {
        let is_config = |text: &str| matches!(described(text), Some(Network::Config(_)));
        assert!(is_config("network: {config: disabled}") && is_config("config: disabled") && is_config("version: 1"));
        assert!(is_config("bonds: {b: {}}") && is_config("network: {ethernets: {}}"));
        assert!(matches!(described("{\"links\": [], \"networks\": []}"), Some(Network::NetworkData(_))));
        assert!(described("services: {}\nversion: '3'").is_none() && described("metrics: {}").is_none());
        let problems =
            render(&Network::Config("ethernets: {eth0: {dhcp4: true}}".into()), &Interfaces::default()).problems;
        assert!(problems[0].message.contains("version: 2"), "{problems:?}");
    }

    #[test]
    fn a_device_that_is_made_is_known_by_its_name() {
        let text = "version: 2\nethernets: {a: {match: {macaddress: 'fa:16:3e:00:00:02'}}}\nbonds: {b: {interfaces: [a], macaddress: 'fa:16:3e:00:00:09'}}\n";
        let files = files(&Network::Config(text.into()));
        let of = |name: &str| &files.iter().find(|(file, _)| file == name).expect(name).1;
        assert!(of("10-hostwright-b.network").starts_with("[Link]\nMACAddress=fa:16:3e:00:00:09\n\n[Match]\nName=b\n"));
        assert!(of("10-hostwright-b.netdev").contains("MACAddress=fa:16:3e:00:00:09"));
        assert!(of("10-hostwright-a.network").contains("[Match]\nMACAddress=fa:16:3e:00:00:02"));
    }

    const BOND: &str = "version: 1\nconfig:\n- {type: physical, name: eth0, mac_address: 'fa:16:3e:00:00:01'}\n- {type: physical, name: eth1}\n- {type: bond, name: bond0, bond_interfaces: [eth0, eth1], params: {bond-mode: active-backup, bond-miimon: 100}, mtu: 9000}\n- {type: vlan, name: bond0.7, vlan_id: 7, vlan_link: bond0, subnets: [{type: dhcp4}, {type: static6, address: '2001:db8::2/64', gateway: '2001:db8::1'}]}\n- {type: bridge, name: br0, bridge_interfaces: [bond0.8], params: {bridge_stp: 'off', bridge_fd: 4}, subnets: [{type: static, address: 10.0.0.2, netmask: 255.255.0.0}]}\n- {type: nameserver, address: [9.9.9.9], search: [a.example]}\n- {type: route, destination: 10.9.0.0/16, gateway: 10.0.0.1}\n";

    fn for_manager(manager: Manager) -> String {
        let rendered = render_for(manager, &Network::Config(BOND.into()), &Interfaces::default());
        assert!(rendered.problems.is_empty(), "{:?}", rendered.problems);
        rendered.files.iter().map(|file| format!("{}:\n{}", file.name, file.content)).collect()
    }

    #[test]
    fn ifupdown_gets_stanzas_for_each_kind_of_interface() {
        let text = for_manager(Manager::Ifupdown);
        for stanza in [
            "10-hostwright-eth0.link:\n[Link]\nName=eth0\n\n[Match]\nPermanentMACAddress=fa:16:3e:00:00:01\n",
            "auto eth1\niface eth1 inet manual\n    bond-master bond0\n\n",
            "auto bond0\niface bond0 inet manual\n    mtu 9000\n    bond-slaves eth0 eth1\n    bond-miimon 100\n    bond-mode active-backup\n",
            "auto bond0.7\niface bond0.7 inet dhcp\n    vlan-raw-device bond0\n    vlan_id 7\n",
            "iface bond0.7 inet6 static\n    address 2001:db8::2/64\n    gateway 2001:db8::1\n",
            "auto br0\niface br0 inet static\n    address 10.0.0.2/16\n    bridge_ports bond0.8\n    bridge_fd 4\n    bridge_stp off\n",
            "    post-up ip -4 route add 10.9.0.0/16 via 10.0.0.1 dev $IFACE || true\n",
        ] {
            assert!(text.contains(stanza), "{stanza}\nis missing in\n{text}");
        }
        assert_eq!(text.matches("10.9.0.0/16").count(), 2, "{text}");
    }

    #[test]
    fn networkmanager_gets_a_connection_for_each_interface() {
        let text = for_manager(Manager::NetworkManager);
        let bond = text.split("hostwright-bond0.nmconnection:").nth(1).expect("a bond");
        let uuid = bond.split("uuid=").nth(1).and_then(|rest| rest.lines().next()).expect("a UUID").to_owned();
        for part in [
            "type=bond\nautoconnect-priority=120\ninterface-name=bond0\n\n[ethernet]\nmtu=9000\n\n[bond]\nmiimon=100\nmode=active-backup\n".to_owned(),
            format!("interface-name=eth1\nslave-type=bond\nmaster={uuid}\n"),
            format!("[vlan]\nid=7\nparent={uuid}\n\n[ipv4]\nmethod=auto\nmay-fail=false\ndns=9.9.9.9;\ndns-search=a.example;\n"),
            "[ipv6]\nmethod=manual\nmay-fail=false\naddr-gen-mode=eui64\naddress1=2001:db8::2/64\ngateway=2001:db8::1\n".to_owned(),
            "[bridge]\nforward-delay=4\nstp=false\n\n[ipv4]\nmethod=manual\nmay-fail=false\naddress1=10.0.0.2/16\n".to_owned(),
            "route1=10.9.0.0/16,10.0.0.1\n".to_owned(),
        ] {
            assert!(text.contains(&part), "{part}\nis missing in\n{text}");
        }
    }

    #[test]
    fn what_netplan_knows_beyond_cloud_init_is_done_too() {
        let text = "version: 2\nethernets:\n  a:\n    match: {name: 'en*'}\n    set-name: lan0\n    addresses: [{10.0.0.2/24: {label: 'lan0:x', lifetime: 0}}]\n    link-local: []\n    ipv6-privacy: true\n    macaddress: '02:00:00:00:00:01'\n    routes: [{to: default, via: 10.0.0.1, table: 7, on-link: true}, {to: 10.9.0.0/16, type: blackhole}]\n    routing-policy: [{from: 10.0.0.2/32, table: 7, priority: 9}]\n  b: {}\nbridges: {br0: {interfaces: [b], parameters: {path-cost: {b: 50}}}}\ntunnels: {t0: {mode: sit, local: 10.0.0.2, remote: 192.0.2.1, addresses: ['2001:db8::2/64'], gateway6: '2001:db8::1'}, vx: {mode: vxlan, id: 5, local: 10.0.0.2}}\nvrfs: {red: {table: 11, interfaces: [b]}}\ndummy-devices: {d0: {addresses: [10.1.0.1/32]}}\n";
        let files = files(&Network::Config(text.into()));
        let of = |name: &str| &files.iter().find(|(file, _)| file == name).expect(name).1[..];
        assert_eq!(
            of("10-hostwright-lan0.network"),
            "[Address]\nAddress=10.0.0.2/24\nLabel=lan0:x\nPreferredLifetime=0\n\n[Link]\nMACAddress=02:00:00:00:00:01\n\n[Match]\nName=lan0\n\n[Network]\nDHCP=no\nIPv6PrivacyExtensions=yes\nLinkLocalAddressing=no\n\n[Route]\nDestination=0.0.0.0/0\nGateway=10.0.0.1\nGatewayOnLink=yes\nTable=7\n\n[Route]\nDestination=10.9.0.0/16\nType=blackhole\n\n[RoutingPolicyRule]\nFrom=10.0.0.2/32\nTable=7\nPriority=9"
        );
        assert_eq!(of("10-hostwright-lan0.link"), "[Link]\nName=lan0\n\n[Match]\nOriginalName=en*");
        assert!(of("10-hostwright-b.network").contains("[Bridge]\nCost=50"));
        assert!(of("10-hostwright-b.network").contains("Bridge=br0\nDHCP=no\nVRF=red"));
        assert_eq!(of("10-hostwright-red.netdev"), "[NetDev]\nKind=vrf\nName=red\n\n[VRF]\nTable=11");
        assert_eq!(
            of("10-hostwright-t0.netdev"),
            "[NetDev]\nKind=sit\nName=t0\n\n[Tunnel]\nIndependent=yes\nLocal=10.0.0.2\nRemote=192.0.2.1"
        );
        assert!(of("10-hostwright-vx.netdev").contains("[VXLAN]\nIndependent=yes\nLocal=10.0.0.2\nVNI=5"));
        assert_eq!(of("10-hostwright-d0.netdev"), "[NetDev]\nKind=dummy\nName=d0");
    }

    #[test]
    fn an_unknown_address_in_network_data_loses_nothing() {
        let text = r#"{"links": [{"id": "tap1", "type": "bgpovs", "ethernet_mac_address": "FA:16:3E:00:00:01", "mtu": 1500},
            {"id": "tap2", "type": "ovs", "ethernet_mac_address": "fa:16:3e:99:99:99"}],
            "networks": [{"link": "tap1", "type": "ipv4_dhcp"}, {"link": "tap2", "type": "ipv4", "ip_address": "10.0.0.9",
            "netmask": "255.255.0.0", "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}]}],
            "services": [{"type": "dns", "address": "9.9.9.9"}]}"#;
        let files = files(&Network::NetworkData(text.into()));
        assert_eq!(files[0].0, "10-hostwright-ens3.network");
        assert!(files[0].1.contains("DHCP=ipv4") && files[0].1.contains("Name=ens3"), "{}", files[0].1);
        assert_eq!(files[1].0, "10-hostwright-fa-16-3e-99-99-99.network");
        assert!(
            files[1].1.contains("Address=10.0.0.9/16") && files[1].1.contains("Destination=0.0.0.0/0"),
            "{}",
            files[1].1
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_rest_counts() {
        let text = "version: 2\nwifis: {w: {}}\nethrnets: {}\nethernets:\n  a: {addresses: [10.0.0.1/24, nonsense], nameserver: {}, auth: {}}\n";
        let rendered = render(&Network::Config(text.into()), &Interfaces::default());
        let told: Vec<_> = rendered.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "2:1: wifis: is not done: these interfaces are left as the image has them");
        assert_eq!(told[1], "3:1: ethrnets: unknown key; did you mean \"ethernets\"?");
        assert_eq!(told[2], "5:32: ethernets.a.addresses: \"nonsense\" is no address");
        assert_eq!(told[3], "5:43: ethernets.a.nameserver: unknown key; did you mean \"nameservers\"?");
        assert_eq!(told[4], "5:59: ethernets.a.auth: is not done here: use runcmd, or write files");
        let text = "version: 2\nethernets: {a: {match: {mac: x}, routes: [{to: default, via: x}]}}\n";
        let told: Vec<_> = render(&Network::Config(text.into()), &Interfaces::default())
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "2:25: ethernets.a.match.mac: unknown key; known here: name, macaddress, driver",
                "2:43: ethernets.a.routes: the gateway \"x\" is no address"
            ]
        );
        for (text, expected) in [
            ("version: 2\nethernets: [a]\n", "2:12: ethernets: expected a mapping of names, found a list"),
            ("version: 2\nethernets: {a: x}\n", "2:16: ethernets.a: expected a mapping of keys, found a string"),
            (
                "version: 2\nethernets: {a: {nameservers: [9.9.9.9]}}\n",
                "2:30: ethernets.a.nameservers: expected a mapping of keys, found a list",
            ),
            (
                "version: 2\nethernets: {a: {addresses: 10.0.0.2/24}}\n",
                "2:28: ethernets.a.addresses: expected a list, found a string",
            ),
            ("version: 2\nethernets: {a: {mtu: big}}\n", "2:22: ethernets.a.mtu: expected a number, found a string"),
            (
                "version: 1\nconfig: [{type: physical, name: a, subnets: [{type: wonder}]}]\n",
                "2:53: config.subnets.type: \"wonder\" is no type; known: dhcp, dhcp4, dhcp6, static, static6, manual, ipv6_slaac, ipv6_dhcpv6-stateful, ipv6_dhcpv6-stateless",
            ),
            (
                "version: 1\nconfig: [{type: physical, name: a, subnets: {type: dhcp}}]\n",
                "2:45: config.subnets: expected a list, found a mapping",
            ),
        ] {
            let problems = render(&Network::Config(text.into()), &Interfaces::default()).problems;
            assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{text}");
        }
        let text = r#"{"links": [{"id": "a", "type": "phy", "ethernet_mac_address": "fa:16:3e:00:00:01"}], "networks": [{"link": "b", "type": "ipv4_dhcp"}]}"#;
        let problems = render(&Network::NetworkData(text.into()), &Interfaces::default()).problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].to_string(), "1:108: networks: there is no link \"b\": this network is left out");
        let text = r#"{"links": [{"id": "a", "type": "teleporter", "ethernet_mac_address": "fa:16:3e:00:00:01"}], "networks": [{"link": "a", "type": "ipv4_dhcp"}]}"#;
        let network = Network::NetworkData(text.into());
        let told = [
            "network-config:1:32: links.type: unknown kind of link \"teleporter\": a is taken for an ordinary interface",
        ];
        assert_eq!(left_out(&network), told);
        assert_eq!(render(&network, &Interfaces::default()).files.len(), 1);
        let text = "version: 1\nconfig:\n- {type: physical, name: a, subnet: []}\n";
        assert_eq!(
            left_out(&Network::Config(text.into())),
            ["network-config:3:29: config.subnet: unknown key; did you mean \"subnets\"?"]
        );
        assert_eq!(rendered.files.len(), 1);
    }
}

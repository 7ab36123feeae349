use std::collections::BTreeMap;

/// What is wanted of the network.
#[derive(Debug, Default)]
pub struct State {
    /// In the order of the description.
    pub links: Vec<Link>,
    /// Routes of no interface in particular: every one of them gets them, as from cloud-init.
    pub routes: Vec<Route>,
    /// Name servers of no interface in particular.
    pub dns: Dns,
    /// Whether name servers of no interface in particular count for those without own ones (version 1).
    pub shares_dns: bool,
}

/// An interface.
#[derive(Debug, Default)]
pub struct Link {
    /// By which others in the description refer to it.
    pub id: String,
    /// What it is called, or shall be; a pattern where it was given as one. Empty where only the address is known.
    pub name: String,
    /// By which it is known.
    pub mac: Option<String>,
    /// By which it is known.
    pub driver: Option<String>,
    /// Whether the name is one that it shall get.
    pub is_renamed: bool,
    /// What it is called before it gets a name, where neither address nor driver say which one is meant.
    pub original: Option<String>,
    /// What kind it is.
    pub kind: Kind,
    /// Bytes of a packet.
    pub mtu: Option<String>,
    /// Whether nobody waits for it.
    pub is_optional: bool,
    /// Whether it takes router advertisements.
    pub accept_ra: Option<bool>,
    /// Whether a packet wakes the machine.
    pub wake_on_lan: bool,
    /// Addresses and where they come from.
    pub subnets: Vec<Subnet>,
    /// Its own name servers.
    pub dns: Option<Dns>,
    /// `dhcp4-overrides:` and `dhcp6-overrides:` as keys and values.
    pub overrides: [Vec<(String, String)>; 2],
    /// Further lines of its `.network` file, with their sections.
    pub further: Vec<(&'static str, String)>,
    /// Rules of which table of routes counts for what, each with its lines.
    pub rules: Vec<Vec<String>>,
}

/// What kind of interface it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A device.
    #[default]
    Physical,
    /// Several as one.
    Bond {
        /// By their ids.
        members: Vec<String>,
        /// By cloud-init's names without `bond-`: `mode`, `miimon`, …
        settings: BTreeMap<String, String>,
    },
    /// A switch.
    Bridge {
        /// By their ids.
        members: Vec<String>,
        /// By cloud-init's names without `bridge_`: `stp`, `fd`, …
        settings: BTreeMap<String, String>,
        /// Lines of its members: `Cost=100`, with the member's id.
        ports: Vec<(String, String)>,
    },
    /// A tagged network on another interface.
    Vlan {
        /// The tag.
        id: String,
        /// The other interface, by its id.
        link: String,
    },
    /// A tunnel, a table of routes of its own (`vrf`), or a device that is none (`dummy`).
    Virtual {
        /// As systemd-networkd calls it.
        kind: String,
        /// Where its lines stand in the `.netdev` file.
        section: &'static str,
        /// Its settings.
        lines: Vec<String>,
        /// Of a VRF, by their ids.
        members: Vec<String>,
    },
}

/// Addresses and where they come from.
#[derive(Debug, Default)]
pub struct Subnet {
    /// `dhcp4`, `static`, `manual`, …
    pub kind: String,
    /// With its prefix: `10.0.0.2/24`.
    pub address: Option<String>,
    /// Further lines of the address.
    pub further: Vec<String>,
    /// The default route's.
    pub gateway: Option<String>,
    /// Name servers and domains.
    pub dns: Dns,
    /// Further routes.
    pub routes: Vec<Route>,
}

/// Name servers and domains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Where a name without a dot is looked for.
    pub search: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// With its prefix.
    pub destination: String,
    /// The next machine on the way.
    pub gateway: Option<String>,
    /// The lower, the better.
    pub metric: Option<String>,
    /// Whether the gateway is reached though no address of ours is in its network.
    pub on_link: bool,
    /// Further lines: its table, its type.
    pub further: Vec<String>,
}

impl State {
    /// The interface of this id, made where there is none yet: bonds and bridges name members that may come later.
    fn member(&mut self, id: &str) {
        if !self.links.iter().any(|link| link.id == id) {
            self.links.push(Link { id: id.to_owned(), name: id.to_owned(), ..Link::default() });
        }
    }

    /// Takes in an interface with its members, in the order in which cloud-init comes to know them.
    pub fn put(&mut self, link: Link) {
        let members = match &link.kind {
            Kind::Bond { members, .. } | Kind::Bridge { members, .. } | Kind::Virtual { members, .. } => {
                members.clone()
            }
            _ => Vec::new(),
        };
        if matches!(link.kind, Kind::Bond { .. }) {
            self.put_alone(link);
            members.iter().for_each(|member| self.member(member));
        } else {
            members.iter().for_each(|member| self.member(member));
            self.put_alone(link);
        }
    }

    /// What stood for it as a member before is replaced in its place.
    fn put_alone(&mut self, link: Link) {
        match self.links.iter_mut().find(|other| other.id == link.id) {
            Some(other) => *other = link,
            None => self.links.push(link),
        }
    }
}

use crate::encode::Labels;

/// A number of a device: the family's name without its beginning, and the file in sysfs.
pub struct Field {
    pub name: &'static str,
    pub file: &'static str,
    /// Whether it only grows.
    pub counts: bool,
    /// Whether it stays what it is while the device's address and flags do, or an operator says otherwise.
    pub stays: bool,
}

const fn is(name: &'static str, file: &'static str) -> Field {
    Field { name, file, counts: false, stays: false }
}

const fn stays(name: &'static str, file: &'static str) -> Field {
    Field { name, file, counts: false, stays: true }
}

const fn counts(name: &'static str, file: &'static str) -> Field {
    Field { name, file, counts: true, stays: false }
}

/// Every number of a device.
pub const FIELDS: [Field; 17] = [
    stays("address_assign_type", "addr_assign_type"),
    is("carrier", "carrier"),
    counts("carrier_changes_total", "carrier_changes"),
    counts("carrier_down_changes_total", "carrier_down_count"),
    counts("carrier_up_changes_total", "carrier_up_count"),
    stays("device_id", "dev_id"),
    is("dormant", "dormant"),
    is("flags", "flags"),
    stays("iface_id", "ifindex"),
    stays("iface_link", "iflink"),
    is("iface_link_mode", "link_mode"),
    is("mtu_bytes", "mtu"),
    stays("name_assign_type", "name_assign_type"),
    stays("net_dev_group", "netdev_group"),
    stays("protocol_type", "type"),
    is("speed_bytes", "speed"),
    is("transmit_queue_length", "tx_queue_len"),
];
/// Where the numbers stand that are looked at one by one.
pub mod at {
    pub const ADDRESS_ASSIGN_TYPE: usize = 0;
    pub const CARRIER: usize = 1;
    pub const CARRIER_CHANGES: usize = 2;
    pub const CARRIER_DOWN_COUNT: usize = 3;
    pub const CARRIER_UP_COUNT: usize = 4;
    pub const DEVICE_ID: usize = 5;
    pub const DORMANT: usize = 6;
    pub const FLAGS: usize = 7;
    pub const INDEX: usize = 8;
    pub const LINK: usize = 9;
    pub const LINK_MODE: usize = 10;
    pub const MTU: usize = 11;
    pub const NAME_ASSIGN_TYPE: usize = 12;
    pub const GROUP: usize = 13;
    pub const KIND: usize = 14;
    pub const SPEED: usize = 15;
    pub const QUEUE: usize = 16;
}

/// Texts of a device, which are labels and files of that name.
pub const TEXTS: [&str; 5] = ["address", "broadcast", "duplex", "ifalias", "operstate"];
pub const ADDRESS: usize = 0;
pub const BROADCAST: usize = 1;
pub const DUPLEX: usize = 2;
pub const ALIAS: usize = 3;
pub const STATE: usize = 4;

/// `IFF_UP`: an operator wants it to work.
pub const UP: i64 = 1;

/// A network device.
pub struct Device {
    pub name: Vec<u8>,
    /// Its name alone.
    pub labels: Labels,
    /// In the order of [`FIELDS`]; what the device does not have is none.
    pub values: [Option<i64>; FIELDS.len()],
    /// In the order of [`TEXTS`].
    texts: [Vec<u8>; TEXTS.len()],
    info: Labels,
    /// The flags' last bit and whether a text changed since the info was rendered.
    rendered: Option<&'static str>,
}

impl Device {
    pub fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            labels: Labels::new(&[("device", name)]),
            values: [None; FIELDS.len()],
            texts: Default::default(),
            info: Labels::default(),
            rendered: None,
        }
    }

    /// Sets one of [`TEXTS`]; most are what they were. Returns whether it is another one.
    pub fn set_text(&mut self, at: usize, text: &[u8]) -> bool {
        let is_new = self.texts[at] != text;
        if is_new {
            self.texts[at].clear();
            self.texts[at].extend_from_slice(text);
            self.rendered = None;
        }
        is_new
    }

    /// Renders the labels anew if they are others than before.
    pub fn render(&mut self) {
        let wanted = match self.values[at::FLAGS] {
            None => "unknown",
            Some(flags) if flags & UP == UP => "up",
            Some(_) => "down",
        };
        if self.rendered == Some(wanted) {
            return;
        }
        let [address, broadcast, duplex, alias, state] = &self.texts;
        self.info.set(&[
            ("address", address),
            ("adminstate", wanted.as_bytes()),
            ("broadcast", broadcast),
            ("device", &self.name),
            ("duplex", duplex),
            ("ifalias", alias),
            ("operstate", state),
        ]);
        self.rendered = Some(wanted);
    }

    /// Every text of it.
    pub fn info(&self) -> &Labels {
        &self.info
    }

    /// Whether it works.
    pub fn is_up(&self) -> bool {
        self.texts[STATE] == b"up"
    }
}

#[cfg(test)]
mod tests {
    use super::{Device, FIELDS, Labels, at};

    #[test]
    fn places_are_those_of_the_names() {
        for (place, file) in [
            (at::ADDRESS_ASSIGN_TYPE, "addr_assign_type"),
            (at::FLAGS, "flags"),
            (at::KIND, "type"),
            (at::QUEUE, "tx_queue_len"),
            (at::SPEED, "speed"),
        ] {
            assert_eq!(FIELDS[place].file, file);
        }
    }

    #[test]
    fn labels_follow_texts_and_flags() {
        let mut device = Device::new(b"eth0");
        let admin = |device: &Device, state: &[u8], wanted: &[u8]| {
            let labels = Labels::new(&[
                ("address", b""),
                ("adminstate", wanted),
                ("broadcast", b""),
                ("device", b"eth0"),
                ("duplex", b""),
                ("ifalias", b""),
                ("operstate", state),
            ]);
            assert_eq!(*device.info(), labels);
        };
        device.render();
        admin(&device, b"", b"unknown");
        device.values[at::FLAGS] = Some(0x1003);
        device.set_text(super::STATE, b"up");
        device.render();
        admin(&device, b"up", b"up");
        device.values[at::FLAGS] = Some(0x1002);
        device.render();
        admin(&device, b"up", b"down");
    }
}

use super::kernel_file::float;
use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Kind, Labels};

/// Keys with a number: name, explanation, kind, and how much one of the kernel's is.
const NUMBERS: [(&str, &str, &str, Kind, f64); 12] = [
    ("ns", "network_sent_bytes_total", "Total number of bytes sent via the network.", Kind::Counter, 1024.0),
    ("nr", "network_received_bytes_total", "Total number of bytes received via the network.", Kind::Counter, 1.0),
    ("dw", "disk_written_bytes_total", "Net data written on local hard disk; in bytes.", Kind::Counter, 1024.0),
    ("dr", "disk_read_bytes_total", "Net data read from local hard disk; in bytes.", Kind::Counter, 1024.0),
    (
        "al",
        "activitylog_writes_total",
        "Number of updates of the activity log area of the meta data.",
        Kind::Counter,
        1.0,
    ),
    ("bm", "bitmap_writes_total", "Number of updates of the bitmap area of the meta data.", Kind::Counter, 1.0),
    ("lo", "local_pending", "Number of open requests to the local I/O sub-system.", Kind::Gauge, 1.0),
    (
        "pe",
        "remote_pending",
        "Number of requests sent to the peer, but that have not yet been answered by the latter.",
        Kind::Gauge,
        1.0,
    ),
    (
        "ua",
        "remote_unacknowledged",
        "Number of requests received by the peer via the network connection, but that have not yet been answered.",
        Kind::Gauge,
        1.0,
    ),
    (
        "ap",
        "application_pending",
        "Number of block I/O requests forwarded to DRBD, but not yet answered by DRBD.",
        Kind::Gauge,
        1.0,
    ),
    ("ep", "epochs", "Number of Epochs currently on the fly.", Kind::Gauge, 1.0),
    ("oos", "out_of_sync_bytes", "Amount of data known to be out of sync; in bytes.", Kind::Gauge, 1024.0),
];

/// Keys with a word for this node and one for the other: name, explanation, and the good word.
const PAIRS: [(&str, &str, &str, &str); 2] = [
    ("ro", "node_role_is_primary", "Whether the role of the node is in the primary state.", "Primary"),
    ("ds", "disk_state_is_up_to_date", "Whether the disk of the node is up to date.", "UpToDate"),
];

/// `/proc/drbd`: block devices that are mirrored to another host.
pub struct Drbd {
    file: KernelFile,
    numbers: Vec<Family>,
    pairs: Vec<Family>,
    connected: Family,
    devices: Rows<Device>,
}

#[derive(Default)]
struct Device {
    numbers: [Option<f64>; NUMBERS.len()],
    /// Of this node, and of the other one.
    pairs: [Option<[bool; 2]>; PAIRS.len()],
    connected: Option<bool>,
    nodes: [Labels; 2],
}

impl Drbd {
    pub fn new(roots: &Roots) -> Self {
        let name = |name: &str| format!("node_drbd_{name}");
        Self {
            file: KernelFile::new(roots.procfs.join("drbd")),
            numbers: NUMBERS.iter().map(|(_, told, help, kind, _)| Family::new(&name(told), help, *kind)).collect(),
            pairs: PAIRS.iter().map(|(_, told, help, _)| Family::gauge(&name(told), help)).collect(),
            connected: Family::gauge(&name("connected"), "Whether DRBD is connected to the peer."),
            devices: Rows::default(),
        }
    }

    fn read(&mut self) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.devices.begin();
        let mut device: Option<&mut Device> = None;
        for word in words(text.bytes) {
            let Some(colon) = memchr::memchr(b':', word) else { continue };
            let (key, value) = (&word[..colon], &word[colon + 1..]);
            if value.contains(&b':') {
                continue;
            }
            if value.is_empty() && number(key).is_some() {
                device = Some(begin(&mut self.devices, key));
            } else if let Some(device) = &mut device {
                device.take(key, value).ok_or_else(|| text.malformed("a key with its value", word))?;
            }
        }
        Ok(())
    }
}

/// A device by its number.
fn begin<'a>(devices: &'a mut Rows<Device>, number: &[u8]) -> &'a mut Device {
    let name = [b"drbd", number].concat();
    let device = devices.row("device", &name);
    if device.nodes[0] == Labels::default() {
        device.nodes = ["local", "remote"].map(|node| Labels::new(&[("device", &name), ("node", node.as_bytes())]));
    }
    (device.numbers, device.pairs, device.connected) = Default::default();
    device
}

impl Device {
    /// Other keys are passed over.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(at) = NUMBERS.iter().position(|(known, ..)| known.as_bytes() == key) {
            self.numbers[at] = Some(float(value)? * NUMBERS[at].4);
        } else if let Some(at) = PAIRS.iter().position(|(known, ..)| known.as_bytes() == key) {
            let slash = memchr::memchr(b'/', value)?;
            self.pairs[at] = Some([&value[..slash], &value[slash + 1..]].map(|word| word == PAIRS[at].3.as_bytes()));
        } else if key == b"cs" {
            self.connected = Some(value == b"Connected");
        }
        Some(())
    }
}

impl Collector for Drbd {
    fn name(&self) -> &'static str {
        "drbd"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read()?;
        for (at, family) in self.numbers.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.devices.iter().for_each(|row| {
                row.values.numbers[at].iter().for_each(|value| samples.with(&row.labels, *value));
            });
        }
        for (at, family) in self.pairs.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            for row in self.devices.iter() {
                let nodes = row.values.nodes.iter().zip(row.values.pairs[at].into_iter().flatten());
                nodes.for_each(|(labels, is_good)| samples.with(labels, is_good));
            }
        }
        let mut samples = scrape.out.family(&self.connected);
        for row in self.devices.iter() {
            row.values.connected.iter().for_each(|connected| samples.with(&row.labels, *connected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Drbd;
    use crate::sample::testing::{assert_has, collect, samples, tree};

    const TEXT: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 211FB288A383ED945B83420\n\
                        \n 1: cs:Connected ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----\n    \
                        ns:17324442 nr:10961 dw:9727 dr:130 al:1 bm:2 lo:0 pe:3 ua:4 ap:5 ep:1 wo:d oos:7\n \
                        3: cs:Unconfigured\n";

    #[test]
    fn each_device_is_told_with_what_it_says() {
        let (_folder, roots) = tree(&[("proc/drbd", TEXT)]);
        let mut drbd = Drbd::new(&roots);
        let lines = samples(&mut drbd, &roots);
        assert_has(
            &lines,
            &[
                r#"node_drbd_network_sent_bytes_total{device="drbd1"} 17740228608"#,
                r#"node_drbd_network_received_bytes_total{device="drbd1"} 10961"#,
                r#"node_drbd_out_of_sync_bytes{device="drbd1"} 7168"#,
                r#"node_drbd_node_role_is_primary{device="drbd1",node="local"} 1"#,
                r#"node_drbd_disk_state_is_up_to_date{device="drbd1",node="remote"} 0"#,
                r#"node_drbd_connected{device="drbd1"} 1"#,
                r#"node_drbd_connected{device="drbd3"} 0"#,
            ],
        );
        assert_eq!(lines.len(), 12 + 4 + 2);
        assert_eq!(samples(&mut drbd, &roots), lines, "the second time, with what is kept");
        let (_folder, roots) = tree(&[("proc/drbd", "0: ns:many\n")]);
        assert!(collect(&mut Drbd::new(&roots), &roots).is_err());
    }
}

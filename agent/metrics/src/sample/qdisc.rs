use super::devices_file;
use super::rows::Rows;
use super::rtnetlink::Links;
use super::{CollectError, Collector, Scrape};
use crate::encode::{Family, Kind};
use hostwright_core::config::metrics::collectors::qdisc as options;
use hostwright_core::config::metrics::filter::Filter;
use hostwright_duty::netlink::{Netlink, attributes, number, text};
use nix::sys::socket::SockProtocol;
use std::io;
use std::path::{Path, PathBuf};

const RTM_GETQDISC: u16 = 38;
/// `struct tcmsg`.
const MESSAGE: usize = 20;
/// The parent of a device's own discipline.
const TC_H_ROOT: u32 = u32::MAX;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;

const FAMILIES: [(&str, Kind, &str); 7] = [
    ("bytes_total", Kind::Counter, "Number of bytes sent."),
    ("packets_total", Kind::Counter, "Number of packets sent."),
    ("drops_total", Kind::Counter, "Number of packets dropped."),
    ("requeues_total", Kind::Counter, "Number of packets dequeued, not transmitted, and requeued."),
    ("overlimits_total", Kind::Counter, "Number of overlimit packets."),
    ("current_queue_length", Kind::Gauge, "Number of packets currently in queue to be sent."),
    ("backlog", Kind::Gauge, "Number of bytes currently in queue to be sent."),
];
type Numbers = [u64; FAMILIES.len()];
/// The fields of a file that stands in for the kernel, in the order of the families.
const FIELDS: [&str; FAMILIES.len()] = ["Bytes", "Packets", "Drops", "Requeues", "Overlimits", "Qlen", "Backlog"];

/// Queueing disciplines of network devices.
pub struct Qdisc {
    devices: Filter,
    /// A file that is read in place of asking the kernel.
    fixtures: Option<PathBuf>,
    netlink: Netlink,
    /// Numbers and names of the devices.
    names: Vec<(u32, Vec<u8>)>,
    families: [Family; FAMILIES.len()],
    rows: Rows<Numbers>,
    /// A device and its discipline, in place of a new one for each.
    key: Vec<u8>,
}

impl Qdisc {
    pub fn new(options: &options::Qdisc) -> Self {
        Self {
            devices: options.devices.clone(),
            fixtures: options.fixtures.as_ref().map(|folder| folder.join("results.json")),
            netlink: Netlink::new(SockProtocol::NetlinkRoute),
            names: Vec::new(),
            families: FAMILIES.map(|(name, kind, help)| Family::new(&format!("node_qdisc_{name}"), help, kind)),
            rows: Rows::default(),
            key: Vec::new(),
        }
    }

    fn read_fixtures(&mut self, file: &Path) -> Result<(), CollectError> {
        self.rows.begin();
        for found in devices_file::read_list(file)? {
            let (name, kind) = (devices_file::text(&found, "IfaceName"), devices_file::text(&found, "Kind"));
            // Only a device's own discipline, none of those below it.
            if devices_file::number(&found, "Parent") == 0.0 && self.devices.admits(name.as_bytes()) {
                let labels = [("device", name.as_bytes()), ("kind", kind.as_bytes())];
                let key = format!("{name}/{kind}");
                *self.rows.row_with(key.as_bytes(), |row| row.set(&labels)) =
                    FIELDS.map(|field| devices_file::number(&found, field) as u64);
            }
        }
        Ok(())
    }

    fn read(&mut self, links: &mut Links) -> io::Result<()> {
        let Self { devices, netlink, names, rows, key, .. } = self;
        names.clear();
        links.read(|link| {
            if let Some(name) = link.name() {
                names.push((link.index.cast_unsigned(), name.to_owned()));
            }
        })?;
        rows.begin();
        netlink.dump(RTM_GETQDISC, &[0; MESSAGE], |body| {
            let Some((index, kind, numbers)) = parse(body) else { return };
            let name = names.iter().find(|(known, _)| *known == index).map_or(&b""[..], |(_, name)| name);
            if devices.admits(name) {
                key.clear();
                [name, b"/", kind].iter().for_each(|part| key.extend_from_slice(part));
                *rows.row_with(key, |labels| labels.set(&[("device", name), ("kind", kind)])) = numbers;
            }
        })
    }
}

/// Device, kind and numbers of a device's own discipline; none of those below it.
fn parse(body: &[u8]) -> Option<(u32, &[u8], Numbers)> {
    let (index, parent) = (number(body, 4)?, number(body, 12)?);
    if parent != 0 && parent != TC_H_ROOT {
        return None;
    }
    let (mut kind, mut numbers) = (&b""[..], Numbers::default());
    for (what, value) in attributes(body.get(MESSAGE..)?) {
        match what {
            TCA_KIND => kind = text(value),
            TCA_STATS2 => attributes(value).for_each(|(what, value)| take(&mut numbers, what, value)),
            _ => {}
        }
    }
    Some((index, kind, numbers))
}

fn take(numbers: &mut Numbers, what: u16, value: &[u8]) {
    let at = |at| number(value, at).map_or(0, u64::from);
    match what {
        TCA_STATS_BASIC => {
            let bytes = value.get(..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes);
            (numbers[0], numbers[1]) = (bytes, at(8));
        }
        TCA_STATS_QUEUE => {
            (numbers[5], numbers[6], numbers[2]) = (at(0), at(4), at(8));
            (numbers[3], numbers[4]) = (at(12), at(16));
        }
        _ => {}
    }
}

impl Collector for Qdisc {
    fn name(&self) -> &'static str {
        "qdisc"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        match self.fixtures.clone() {
            Some(file) => self.read_fixtures(&file)?,
            None => {
                self.read(scrape.links).map_err(|error| CollectError::reading(Path::new("rtnetlink(7)"), error))?;
            }
        }
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Qdisc, options, parse, take};
    use crate::sample::testing::{assert_has, samples, tree};
    use hostwright_core::config::metrics::filter::Filter;

    #[test]
    fn a_file_stands_in_for_the_kernel() {
        let results = r#"[{"IfaceName": "wlan0", "Kind": "fq", "Bytes": 42, "Packets": 3, "Qlen": 1, "Backlog": 9},
            {"IfaceName": "wlan0", "Parent": 7, "Kind": "pfifo"}, {"IfaceName": "eth0", "Kind": "mq"}]"#;
        let (folder, roots) = tree(&[("qdisc/results.json", results)]);
        let options =
            options::Qdisc { devices: Filter::excluding("^eth"), fixtures: Some(folder.path().join("qdisc")) };
        let lines = samples(&mut Qdisc::new(&options), &roots);
        assert_has(
            &lines,
            &[
                r#"node_qdisc_bytes_total{device="wlan0",kind="fq"} 42"#,
                r#"node_qdisc_backlog{device="wlan0",kind="fq"} 9"#,
                r#"node_qdisc_drops_total{device="wlan0",kind="fq"} 0"#,
            ],
        );
        assert_eq!(lines.len(), 7);
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_devices_own_discipline_is_taken_and_those_below_it_are_not() {
        let mut body = vec![0; 20];
        body[4] = 7;
        body.extend(attribute(1, b"fq\0"));
        let basic: Vec<u8> = [1_u32, 0, 2, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let queue: Vec<u8> = [3_u32, 4, 5, 6, 8].into_iter().flat_map(u32::to_ne_bytes).collect();
        body.extend(attribute(7 | 0x8000, &[attribute(1, &basic), attribute(3, &queue)].concat()));
        if cfg!(target_endian = "little") {
            assert_eq!(parse(&body), Some((7, &b"fq"[..], [1, 2, 5, 6, 8, 3, 4])));
        }
        body[12] = 1;
        assert_eq!(parse(&body), None);
        for length in 0..body.len() {
            let _ = parse(&body[..length]);
            take(&mut Default::default(), 1, &body[..length]);
        }
    }
}

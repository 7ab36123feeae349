use super::addresses::Addresses;
use super::rows::Rows;
use super::rtnetlink::{Link, Links, Stats};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;
use hostwright_core::config::metrics::collectors::netdev as options;
use hostwright_core::config::metrics::filter::Filter;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// In the order of `/proc/net/dev`; the last is known from rtnetlink alone.
const FIELDS: [&str; 17] = [
    "receive_bytes",
    "receive_packets",
    "receive_errs",
    "receive_drop",
    "receive_fifo",
    "receive_frame",
    "receive_compressed",
    "receive_multicast",
    "transmit_bytes",
    "transmit_packets",
    "transmit_errs",
    "transmit_drop",
    "transmit_fifo",
    "transmit_colls",
    "transmit_carrier",
    "transmit_compressed",
    "receive_nohandler",
];
/// How many of them the file has.
const IN_FILE: usize = 16;
/// In the kernel's order.
const DETAILED: [&str; 24] = [
    "receive_packets",
    "transmit_packets",
    "receive_bytes",
    "transmit_bytes",
    "receive_errors",
    "transmit_errors",
    "receive_dropped",
    "transmit_dropped",
    "multicast",
    "collisions",
    "receive_length_errors",
    "receive_over_errors",
    "receive_crc_errors",
    "receive_frame_errors",
    "receive_fifo_errors",
    "receive_missed_errors",
    "transmit_aborted_errors",
    "transmit_carrier_errors",
    "transmit_fifo_errors",
    "transmit_heartbeat_errors",
    "transmit_window_errors",
    "receive_compressed",
    "transmit_compressed",
    "receive_nohandler",
];

/// Network devices' traffic: from rtnetlink where the kernel may be asked, else from `/proc/net/dev`.
pub struct Netdev {
    /// Whether rtnetlink is asked.
    asks: bool,
    devices: Filter,
    file: KernelFile,
    detailed: bool,
    families: Vec<Family>,
    rows: Rows<Stats>,
    /// Where the aliases are, if they are a label.
    aliases: Option<PathBuf>,
    addresses: Option<Addresses>,
}

impl Netdev {
    pub fn new(roots: &Roots, options: &options::Netdev) -> Self {
        let is_live = roots.are_live();
        Self {
            asks: is_live,
            devices: options.devices.clone(),
            file: KernelFile::new(roots.procfs.join("net/dev")),
            detailed: options.detailed,
            families: families(is_live, options.detailed),
            rows: Rows::default(),
            aliases: options.label_ifalias.then(|| roots.sysfs.join("class/net")),
            addresses: (is_live && options.address_info).then(Addresses::new),
        }
    }

    fn read(&mut self, links: &mut Links) -> Result<(), CollectError> {
        self.rows.begin();
        if self.asks {
            let take = |link: Link<'_>| {
                if let Some((name, stats)) = link.stats().filter(|(name, _)| self.devices.admits(name)) {
                    *row(&mut self.rows, self.aliases.as_deref(), name) =
                        if self.detailed { stats } else { summed(&stats) };
                }
            };
            match links.read(take) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    log::info!("metrics: rtnetlink gives no devices ({error}); /proc/net/dev is read in its place");
                    self.asks = false;
                    self.families = families(false, self.detailed);
                    self.rows.begin();
                }
            }
        }
        let text = self.file.read()?;
        for line in text.lines().skip(2) {
            let malformed = || text.malformed("a device with 16 numbers", line);
            // A name may have colons; numbers have none.
            let colon = memchr::memrchr(b':', line).ok_or_else(malformed)?;
            let (name, numbers) = (line[..colon].trim_ascii(), &line[colon + 1..]);
            if !self.devices.admits(name) {
                continue;
            }
            let counters = row(&mut self.rows, self.aliases.as_deref(), name);
            let mut count = 0;
            for (slot, word) in counters.iter_mut().zip(words(numbers)) {
                *slot = number(word).ok_or_else(malformed)?;
                count += 1;
            }
            if count != IN_FILE {
                return Err(malformed());
            }
        }
        Ok(())
    }
}

/// The device's row. An alias may change at any time, and is read only where it is asked for.
fn row<'r>(rows: &'r mut Rows<Stats>, aliases: Option<&Path>, name: &[u8]) -> &'r mut Stats {
    let Some(folder) = aliases else { return rows.row("device", name) };
    let alias = fs::read(folder.join(OsStr::from_bytes(name)).join("ifalias")).unwrap_or_default();
    let alias = alias.trim_ascii();
    let key = [name, b"/", alias].concat();
    rows.row_with(&key, |labels| labels.set(&[("device", name), ("ifalias", alias)]))
}

fn families(from_links: bool, detailed: bool) -> Vec<Family> {
    let family = |field: &str| {
        let help = format!("Network device statistic {field}.");
        Family::counter(&format!("node_network_{field}_total"), &help)
    };
    // Of the file, detailed names are the kernel's words for the same.
    let word = |field: &&str| field.replace("_errs", "_errors").replace("_drop", "_dropped");
    match (from_links, detailed) {
        (true, true) => DETAILED.iter().map(|field| family(field)).collect(),
        (true, false) => FIELDS.iter().map(|field| family(field)).collect(),
        (false, true) => FIELDS[..IN_FILE].iter().map(|field| family(&word(field))).collect(),
        (false, false) => FIELDS[..IN_FILE].iter().map(|field| family(field)).collect(),
    }
}

/// Summed up as the kernel does it for `/proc/net/dev`, in the order of the fields.
fn summed(stats: &Stats) -> Stats {
    let sum = |fields: &[usize]| fields.iter().fold(0_u64, |sum, at| sum.wrapping_add(stats[*at]));
    let [rx_packets, tx_packets, rx_bytes, tx_bytes, rx_errors, tx_errors, _, tx_dropped, multicast, collisions, ..] =
        *stats;
    let [.., rx_compressed, tx_compressed, rx_nohandler] = *stats;
    let (rx_dropped, rx_frame, rx_fifo) = (sum(&[6, 15]), sum(&[10, 11, 12, 13]), stats[14]);
    let (tx_carrier, tx_fifo) = (sum(&[16, 17, 19, 20]), stats[18]);
    let fields: [u64; FIELDS.len()] = [
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        rx_fifo,
        rx_frame,
        rx_compressed,
        multicast,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
        tx_fifo,
        collisions,
        tx_carrier,
        tx_compressed,
        rx_nohandler,
    ];
    let mut all = [0; DETAILED.len()];
    all[..FIELDS.len()].copy_from_slice(&fields);
    all
}

impl Collector for Netdev {
    fn name(&self) -> &'static str {
        "netdev"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read(scrape.links)?;
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        match &mut self.addresses {
            Some(addresses) => addresses.write(scrape.out),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, Filter, Links, Netdev, Roots, Stats, options, summed};
    use crate::sample::testing::{assert_has, captured, samples, tree};

    #[test]
    fn every_device_of_the_file_is_taken() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Netdev::new(&roots, &Default::default()), &roots);
        assert_has(
            &lines,
            &[
                r#"node_network_receive_bytes_total{device="lo"} 78023"#,
                r#"node_network_receive_bytes_total{device="eth0"} 585367124"#,
                r#"node_network_transmit_drop_total{device="docker0"} 2"#,
            ],
        );
        assert_eq!(lines.len(), 5 * 16);
    }

    #[test]
    fn rtnetlink_and_the_file_name_the_same_devices() {
        let mut netdev = Netdev::new(&Roots::default(), &Default::default());
        let mut names = || {
            netdev.read(&mut Links::default()).expect("read");
            let names: Vec<String> = netdev.rows.iter().map(|row| format!("{:?}", row.labels)).collect();
            netdev.asks = false;
            names
        };
        let (mut links, mut file) = (names(), names());
        links.sort();
        file.sort();
        assert_eq!(links, file);
    }

    #[test]
    fn counters_are_summed_as_the_kernel_does_for_its_text_file() {
        let stats: Stats = std::array::from_fn(|at| at as u64 + 1);
        let want = [3, 1, 5, 7 + 16, 15, 11 + 12 + 13 + 14, 22, 9, 4, 2, 6, 8, 19, 10, 17 + 18 + 20 + 21, 23, 24];
        assert_eq!(summed(&stats)[..FIELDS.len()], want);
    }

    #[test]
    fn detailed_metrics_have_the_kernels_words() {
        let roots = captured("procfs-vm");
        let options = options::Netdev { detailed: true, ..Default::default() };
        let lines = samples(&mut Netdev::new(&roots, &options), &roots);
        assert_has(&lines, &[r#"node_network_transmit_dropped_total{device="docker0"} 2"#]);
        assert!(lines.iter().all(|line| !line.contains("_errs_") && !line.contains("_drop_")), "{lines:?}");
        let live = samples(&mut Netdev::new(&Roots::default(), &options), &Roots::default());
        assert!(live.iter().any(|line| line.starts_with("node_network_receive_missed_errors_total{device=\"lo\"}")));
    }

    #[test]
    fn an_alias_is_a_label_where_it_is_asked_for() {
        let dev = "a\nb\n lo: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\neth0: 2 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n";
        let (_folder, roots) = tree(&[("proc/net/dev", dev), ("sys/class/net/eth0/ifalias", "uplink\n")]);
        let lines =
            samples(&mut Netdev::new(&roots, &options::Netdev { label_ifalias: true, ..Default::default() }), &roots);
        assert_has(
            &lines,
            &[
                r#"node_network_receive_bytes_total{device="eth0",ifalias="uplink"} 2"#,
                r#"node_network_receive_bytes_total{device="lo",ifalias=""} 1"#,
            ],
        );
    }

    #[test]
    fn devices_that_are_left_out_have_no_samples() {
        let roots = captured("procfs-vm");
        let options = options::Netdev { devices: Filter::excluding("^(lo|eth.*)$"), ..Default::default() };
        let lines = samples(&mut Netdev::new(&roots, &options), &roots);
        assert_eq!(lines.len(), 3 * 16, "{lines:?}");
    }
}

use super::rows::Rows;
use super::rtnetlink::{Link, Links};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::metrics::encode::Family;
use hostwright_core::config::metrics::collectors::netdev as options;
use hostwright_core::config::metrics::filter::Filter;

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

/// The counters of one device.
pub type Counters = [u64; FIELDS.len()];

/// Network devices' traffic: from rtnetlink where the kernel may be asked, else from `/proc/net/dev`.
pub struct Netdev {
    links: Option<Links>,
    devices: Filter,
    file: KernelFile,
    families: [Family; FIELDS.len()],
    rows: Rows<Counters>,
}

impl Netdev {
    pub fn new(roots: &Roots, options: &options::Netdev) -> Self {
        let family = |field: &str| {
            let help = format!("Network device statistic {field}.");
            Family::counter(&format!("node_network_{field}_total"), &help)
        };
        Self {
            links: roots.are_live().then(Links::default),
            devices: options.devices.clone(),
            file: KernelFile::new(roots.procfs.join("net/dev")),
            families: FIELDS.map(family),
            rows: Rows::default(),
        }
    }

    /// Returns how many of the fields are known.
    fn read(&mut self) -> Result<usize, CollectError> {
        self.rows.begin();
        if let Some(links) = &mut self.links {
            let take = |link: Link<'_>| {
                if let Some((name, counters)) = link.counters().filter(|(name, _)| self.devices.admits(name)) {
                    *self.rows.row("device", name) = counters;
                }
            };
            match links.read(take) {
                Ok(()) => return Ok(FIELDS.len()),
                Err(error) => {
                    log::info!("metrics: rtnetlink gives no devices ({error}); /proc/net/dev is read in its place");
                    self.links = None;
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
            let counters = self.rows.row("device", name);
            let mut count = 0;
            for (slot, word) in counters.iter_mut().zip(words(numbers)) {
                *slot = number(word).ok_or_else(malformed)?;
                count += 1;
            }
            if count != IN_FILE {
                return Err(malformed());
            }
        }
        Ok(IN_FILE)
    }
}

impl Collector for Netdev {
    fn name(&self) -> &'static str {
        "netdev"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let known = self.read()?;
        for (at, family) in self.families[..known].iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Netdev, Roots};
    use crate::metrics::sample::testing::{assert_has, captured, samples};

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
            let known = netdev.read().expect("read");
            let names: Vec<String> = netdev.rows.iter().map(|row| format!("{:?}", row.labels)).collect();
            netdev.links = None;
            (known, names)
        };
        let ((from_links, mut links), (from_file, mut file)) = (names(), names());
        links.sort();
        file.sort();
        assert_eq!((from_links, from_file), (17, 16));
        assert_eq!(links, file);
    }
}

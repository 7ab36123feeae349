use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::Family;
use hostwright_core::config::metrics::collectors::arp as options;
use hostwright_core::config::metrics::filter::Filter;

/// How many words a neighbour's line has, and its device is the last.
const WORDS: usize = 6;
/// How many the line above them has.
const OF_HEAD: usize = 9;

/// `/proc/net/arp`: how many IPv4 neighbours each device has.
pub struct Arp {
    file: KernelFile,
    devices: Filter,
    entries: Family,
    /// In the order in which devices first appear.
    counts: Vec<(Vec<u8>, u64)>,
    rows: Rows<u64>,
}

impl Arp {
    pub fn new(roots: &Roots, options: &options::Arp) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("net/arp")),
            devices: options.devices.clone(),
            entries: Family::gauge("node_arp_entries", "ARP entries by device"),
            counts: Vec::new(),
            rows: Rows::default(),
        }
    }

    fn count(&mut self) -> Result<(), CollectError> {
        self.counts.iter_mut().for_each(|(_, count)| *count = 0);
        let text = self.file.read()?;
        for line in text.lines() {
            let (mut device, mut found) = (&b""[..], 0);
            for word in words(line) {
                (device, found) = (word, found + 1);
            }
            match found {
                0 | OF_HEAD => continue,
                WORDS => {}
                _ => return Err(text.malformed("a neighbour in six words", line)),
            }
            match self.counts.iter_mut().find(|(known, _)| known == device) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((device.to_owned(), 1)),
            }
        }
        // Devices without neighbours may be gone.
        self.counts.retain(|(_, count)| *count > 0);
        Ok(())
    }
}

impl Collector for Arp {
    fn name(&self) -> &'static str {
        "arp"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.count()?;
        self.rows.begin();
        for (device, count) in self.counts.iter().filter(|(device, _)| self.devices.admits(device)) {
            *self.rows.row("device", device) = *count;
        }
        let mut samples = scrape.out.family(&self.entries);
        self.rows.iter().for_each(|row| samples.with(&row.labels, row.values));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Arp;
    use crate::sample::testing::{collect, samples, tree};
    use hostwright_core::config::metrics::collectors::arp as options;
    use hostwright_core::config::metrics::filter::Filter;

    const TABLE: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
                         192.0.2.1        0x1         0x2         02:42:ac:11:00:02     *        eth0\n\
                         192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        docker0\n\
                         192.0.2.2        0x1         0x2         02:42:ac:11:00:03     *        eth0\n";

    #[test]
    fn neighbours_are_counted_by_device_and_devices_can_be_left_out() {
        let (_folder, roots) = tree(&[("proc/net/arp", TABLE)]);
        let eth0 = r#"node_arp_entries{device="eth0"} 2"#;
        let mut arp = Arp::new(&roots, &options::Arp::default());
        assert_eq!(samples(&mut arp, &roots), [eth0, r#"node_arp_entries{device="docker0"} 1"#]);
        let without_head = TABLE.lines().skip(1).fold(String::new(), |text, line| text + line + "\n");
        std::fs::write(roots.procfs.join("net/arp"), without_head).expect("written");
        assert_eq!(samples(&mut arp, &roots), [eth0, r#"node_arp_entries{device="docker0"} 1"#]);
        let mut arp = Arp::new(&roots, &options::Arp { devices: Filter::excluding("^docker") });
        assert_eq!(samples(&mut arp, &roots), [eth0]);
    }

    #[test]
    fn a_device_without_neighbours_left_is_gone_and_a_line_of_other_words_is_refused() {
        let (_folder, roots) = tree(&[("proc/net/arp", TABLE)]);
        let mut arp = Arp::new(&roots, &options::Arp::default());
        assert_eq!(samples(&mut arp, &roots).len(), 2);
        let eth0_only: String =
            TABLE.lines().filter(|line| !line.ends_with("docker0")).map(|line| format!("{line}\n")).collect();
        std::fs::write(roots.procfs.join("net/arp"), eth0_only).expect("written");
        assert_eq!(samples(&mut arp, &roots), [r#"node_arp_entries{device="eth0"} 2"#]);
        std::fs::write(roots.procfs.join("net/arp"), format!("{TABLE}192.0.2.3 0x1 eth0\n")).expect("written");
        assert!(collect(&mut arp, &roots).is_err());
    }
}

use crate::encode::{Family, Kind};
use crate::sample::names::sanitized;
use hostwright_core::config::metrics::filter::Filter;
use std::collections::BTreeMap;

/// Names that most drivers have.
const KNOWN: [(&str, &str, &str); 7] = [
    ("rx_bytes", "received_bytes_total", "Network interface bytes received"),
    ("rx_dropped", "received_dropped_total", "Number of received frames dropped"),
    ("rx_errors", "received_errors_total", "Number of received frames with errors"),
    ("rx_packets", "received_packets_total", "Network interface packets received"),
    ("tx_bytes", "transmitted_bytes_total", "Network interface bytes sent"),
    ("tx_errors", "transmitted_errors_total", "Number of sent frames with errors"),
    ("tx_packets", "transmitted_packets_total", "Network interface packets sent"),
];

/// The families of all drivers' numbers, by name. They are as many as drivers have names.
#[derive(Default)]
pub struct Statistics(BTreeMap<String, Statistic>);

/// One of them, with the numbers of this scrape.
pub struct Statistic {
    pub family: Family,
    /// Each with the place of its device.
    pub numbers: Vec<(usize, u64)>,
}

impl Statistics {
    /// For each of a driver's names the family that takes its number. Two names that become the same are told neither.
    pub fn families_of<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>, taken: &Filter) -> Vec<Option<String>> {
        let mut families: Vec<Option<String>> = Vec::new();
        let mut known: BTreeMap<String, (Vec<u8>, usize)> = BTreeMap::new();
        for (at, name) in names.enumerate() {
            families.push(None);
            let key = sanitized(&String::from_utf8_lossy(name));
            if key.is_empty() || !taken.admits(key.as_bytes()) {
                continue;
            }
            let (family, help) = family_of(&key);
            match known.get_mut(&family) {
                Some((other, before)) => {
                    let moved = families[*before].take();
                    if other == name && moved.is_some() {
                        // The same word once more: its last number counts.
                        *before = at;
                        families[at] = moved;
                    }
                }
                None => {
                    let new = || Family::new(&format!("node_ethtool_{family}"), &help, Kind::Untyped);
                    let statistic = || Statistic { family: new(), numbers: Vec::new() };
                    self.0.entry(family.clone()).or_insert_with(statistic);
                    known.insert(family.clone(), (name.to_owned(), at));
                    families[at] = Some(family);
                }
            }
        }
        families
    }

    /// Before the first number of a scrape.
    pub fn begin(&mut self) {
        self.0.values_mut().for_each(|statistic| statistic.numbers.clear());
    }

    /// A device's number.
    pub fn put(&mut self, family: &str, device: usize, number: u64) {
        if let Some(statistic) = self.0.get_mut(family) {
            statistic.numbers.push((device, number));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Statistic> {
        self.0.values()
    }
}

/// The rest of the family's name, and its HELP.
fn family_of(key: &str) -> (String, String) {
    if let Some((_, name, help)) = KNOWN.iter().find(|(word, ..)| *word == key) {
        return ((*name).to_owned(), (*help).to_owned());
    }
    let lower = key.to_ascii_lowercase();
    let name = spelled_out(lower.trim_start_matches('_'), "rx", "received");
    (spelled_out(&name, "tx", "transmitted"), format!("Network interface {key}"))
}

/// A word between underscores in place of another one. As in the original, an underscore stands beside one word only:
/// of two in a row the second stays.
fn spelled_out(name: &str, short: &str, long: &str) -> String {
    let mut out = String::with_capacity(name.len() + long.len());
    let mut replaced = false;
    for (at, part) in name.split('_').enumerate() {
        if at > 0 {
            out.push('_');
        }
        replaced = part == short && !replaced;
        out.push_str(if replaced { long } else { part });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Filter, Statistics, family_of};

    #[test]
    fn names_become_those_of_the_original() {
        for (key, want) in [
            ("rx_bytes", "received_bytes_total"),
            ("rx_queue_0_packets", "received_queue_0_packets"),
            ("rx0_bytes", "rx0_bytes"),
            ("_TX_Errs", "transmitted_errs"),
            ("port_rx", "port_received"),
            ("rx_rx_a", "received_rx_a"),
            ("rx_tx_rx", "received_transmitted_received"),
            ("a__rx", "a__received"),
        ] {
            assert_eq!(family_of(key).0, want, "{key}");
        }
        assert_eq!(family_of("TX_Errs").1, "Network interface TX_Errs");
    }

    #[test]
    fn names_that_become_the_same_are_told_neither_and_filters_see_them_sanitized() {
        let mut statistics = Statistics::default();
        let names = ["a b", "a-b", "c", "c", "RX d", "rx_d", "rx.d", "left out", ""];
        let families =
            statistics.families_of(names.iter().map(|name| name.as_bytes()), &Filter::excluding("^left_out$"));
        let told = families.iter().map(Option::as_deref).collect::<Vec<_>>();
        assert_eq!(told, [None, None, None, Some("c"), None, None, None, None, None]);
        statistics.put("c", 0, 7);
        assert_eq!(statistics.iter().map(|one| one.numbers.len()).sum::<usize>(), 1);
        statistics.begin();
        assert!(statistics.iter().all(|one| one.numbers.is_empty()));
    }
}

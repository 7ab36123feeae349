//! InfiniBand adapters: in come their ports' files, out go counters by port.

/// The counters of a port.
mod counters;

use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Texts, malformed, unsigned, write};
use super::{CollectError, Collector, Roots, Scrape, number};
use crate::encode::{Family, Labels};
use std::path::Path;

/// A gigabit in bytes.
const GIGABIT: f64 = 125_000_000.0;
/// What a port without counters says in the place of each.
const NO_COUNTER: &[u8] = b"N/A (no PMA)";

/// InfiniBand adapters, with their ports.
pub struct Infiniband {
    adapters: Devices<Adapter>,
    columns: Vec<Column>,
    families: Families,
    page: Page,
}

struct Families {
    info: Family,
    state: Family,
    physical_state: Family,
    rate: Family,
    lifespan: Family,
}

struct Adapter {
    name: Vec<u8>,
    firmware: Attribute,
    texts: Texts,
    ports: Devices<Port>,
}

struct Port {
    row: Row,
    state: Attribute,
    physical_state: Attribute,
    rate: Attribute,
    link_layer: Attribute,
    lifespan: Attribute,
    known: Option<Known>,
}

type ValueOf = fn(&Known) -> Option<u64>;

/// What a port says beside its counters.
struct Known {
    state: u64,
    physical_state: u64,
    rate: u64,
    lifespan: Option<u64>,
}

impl Port {
    fn new(path: &Path, adapter: &[u8], name: &[u8], columns: &[Column]) -> Self {
        let file = |name: &str| Attribute::new(path.join(name));
        Self {
            row: Row {
                labels: Labels::new(&[("device", adapter), ("port", name)]),
                columns: Columns::new(path, columns),
            },
            state: file("state"),
            physical_state: file("phys_state"),
            rate: file("rate"),
            link_layer: file("link_layer"),
            lifespan: file("hw_counters/lifespan"),
            known: None,
        }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.known = None;
        read(&mut self.link_layer, page, |_| Some(()), "a name")?;
        self.known = Some(Known {
            state: read(&mut self.state, page, state, "a number and a name")?,
            physical_state: read(&mut self.physical_state, page, state, "a number and a name")?,
            rate: read(&mut self.rate, page, rate, "a number of gigabits")?,
            lifespan: match self.lifespan.read(page) {
                Ok(text) if text != NO_COUNTER => unsigned(text),
                _ => None,
            },
        });
        self.row.columns.read(page, counter)?;
        self.row.columns.values().iter_mut().for_each(|value| *value = value.filter(|count| !count.is_nan()));
        Ok(())
    }
}

/// What a file holds that every port has.
fn read<T>(
    file: &mut Attribute,
    page: &mut Page,
    parse: for<'p> fn(&'p [u8]) -> Option<T>,
    expected: &str,
) -> Result<T, CollectError> {
    match file.read(page) {
        Ok(text) => parse(text).ok_or_else(|| malformed(file.path(), expected, text)),
        Err(source) => Err(CollectError::reading(file.path(), source)),
    }
}

/// The number of `4: ACTIVE`.
fn state(text: &[u8]) -> Option<u64> {
    let mut parts = text.split(|byte| *byte == b':');
    let (id, _, None) = (parts.next()?, parts.next()?, parts.next()) else { return None };
    number(id.trim_ascii())
}

/// `40 Gb/sec (4X QDR)` in bytes.
fn rate(text: &[u8]) -> Option<u64> {
    let end = memchr::memchr(b' ', text)?;
    let gigabits: f32 = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    // A rate beyond what fits is no rate.
    Some((f64::from(gigabits) * GIGABIT) as u64)
}

/// A counter that the port does not have is not a number, and left out.
fn counter(text: &[u8]) -> Option<f64> {
    if text == NO_COUNTER { Some(f64::NAN) } else { unsigned(text).map(|number| number as f64) }
}

impl Adapter {
    fn new(path: &Path, name: &[u8]) -> Self {
        let file = |name: &str| Attribute::new(path.join(name));
        Self {
            name: name.to_vec(),
            firmware: file("fw_ver"),
            texts: Texts::new(&[("device", name)])
                .with("board_id", file("board_id"))
                .with("firmware_version", file("fw_ver"))
                .with("hca_type", file("hca_type")),
            ports: Devices::new(path.join("ports")),
        }
    }

    fn read(&mut self, page: &mut Page, columns: &[Column]) -> Result<(), CollectError> {
        self.firmware.read(page).map_err(|source| CollectError::reading(self.firmware.path(), source))?;
        self.texts.read(page);
        let adapter = &self.name;
        self.ports.refresh(|_| true, |path, name| Port::new(path, adapter, name, columns))?;
        self.ports.iter_mut().try_for_each(|port| port.read(page))
    }
}

impl Infiniband {
    pub fn new(roots: &Roots) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_infiniband_{name}"), help);
        Self {
            adapters: Devices::new(roots.sysfs.join("class/infiniband")),
            columns: counters::columns(),
            families: Families {
                info: gauge("info", "Non-numeric data from /sys/class/infiniband/<device>, value is always 1."),
                state: gauge(
                    "state_id",
                    "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
                ),
                physical_state: gauge(
                    "physical_state_id",
                    "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)",
                ),
                rate: gauge("rate_bytes_per_second", "Maximum signal transfer rate"),
                lifespan: gauge(
                    "lifespan_seconds",
                    "The maximum period in ms which defines the aging of the counter reads. Two consecutive reads within this period might return the same values.",
                ),
            },
            page: Page::default(),
        }
    }

    fn write(&self, scrape: &mut Scrape<'_>) {
        let mut samples = scrape.out.family(&self.families.info);
        self.adapters.iter().for_each(|adapter| samples.with(adapter.texts.labels(), true));
        let ports = || self.adapters.iter().flat_map(|adapter| adapter.ports.iter());
        let values: [(&Family, ValueOf); 4] = [
            (&self.families.state, |known| Some(known.state)),
            (&self.families.physical_state, |known| Some(known.physical_state)),
            (&self.families.rate, |known| Some(known.rate)),
            // Whole seconds, as in the original.
            (&self.families.lifespan, |known| Some(known.lifespan? / 1000)),
        ];
        for (family, value) in values {
            let mut samples = scrape.out.family(family);
            for port in ports() {
                if let Some(value) = port.known.as_ref().and_then(value) {
                    samples.with(&port.row.labels, value);
                }
            }
        }
        write(scrape.out, &self.columns, || ports().map(|port| &port.row));
    }
}

impl Collector for Infiniband {
    fn name(&self) -> &'static str {
        "infiniband"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.adapters.refresh(|_| true, Adapter::new)?;
        self.adapters.iter_mut().try_for_each(|adapter| adapter.read(&mut self.page, &self.columns))?;
        self.write(scrape);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{counter, rate, state};

    #[test]
    fn states_and_rates_are_numbers_with_words_behind_them() {
        assert_eq!(
            (state(b"4: ACTIVE"), state(b"5: Link: Up"), state(b"ACTIVE"), state(b"x: y")),
            (Some(4), None, None, None)
        );
        assert_eq!(
            (rate(b"40 Gb/sec (4X QDR)"), rate(b"2.5 Gb/sec"), rate(b"100")),
            (Some(5_000_000_000), Some(312_500_000), None)
        );
        assert!(counter(b"N/A (no PMA)").is_some_and(f64::is_nan) && counter(b"x").is_none());
    }
}

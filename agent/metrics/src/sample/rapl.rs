use super::names::sanitized;
use super::sysfs::{Attribute, Devices, Page, malformed, required};
use super::{CollectError, Collector, Roots, Scrape, number};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::rapl as options;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const MICROJOULES: f64 = 1_000_000.0;

/// Energy that processors and memory used (running average power limit).
pub struct Rapl {
    zone_label: bool,
    /// Each with its path.
    zones: Devices<PathBuf>,
    families: Vec<(Family, Vec<Zone>)>,
    page: Page,
}

struct Zone {
    labels: Labels,
    energy: Attribute,
    joules: Option<f64>,
}

impl Rapl {
    pub fn new(roots: &Roots, options: &options::Rapl) -> Self {
        Self {
            zone_label: options.enable_zone_label,
            zones: Devices::new(roots.sysfs.join("class/powercap")),
            families: Vec::new(),
            page: Page::default(),
        }
    }

    /// Names the zones anew: a zone's index depends on those before it.
    fn find(&mut self) -> Result<(), CollectError> {
        self.families.clear();
        let mut used: HashMap<String, i64> = HashMap::new();
        for path in self.zones.iter() {
            let mut name = Attribute::new(path.join("name"));
            // Folders of the drivers have none.
            let Ok(text) = name.read(&mut self.page) else { continue };
            let text = String::from_utf8_lossy(text).into_owned();
            let (index, name) = index_and_name(&used, &text);
            // The original does without the whole collector where a zone has no limit.
            let mut limit = Attribute::new(path.join("max_energy_range_uj"));
            let text = required(&mut limit, &mut self.page)?;
            number(text).ok_or_else(|| malformed(limit.path(), "a number", text))?;
            let (index_text, path_text) = (index.to_string(), path.as_os_str().as_bytes());
            let zone = |labels| Zone { labels, energy: Attribute::new(path.join("energy_uj")), joules: None };
            let labels = [("index", index_text.as_bytes()), ("path", path_text), ("rapl_zone", name.as_bytes())];
            let (family, help, labels) = if self.zone_label {
                ("node_rapl_joules_total".to_owned(), "Current RAPL value in joules".to_owned(), &labels[..])
            } else {
                let family = format!("node_rapl_{}_joules_total", sanitized(&name));
                (family, format!("Current RAPL {name} value in joules"), &labels[..2])
            };
            used.insert(name.clone(), index + 1);
            let zone = zone(Labels::new(labels));
            match self.families.iter_mut().find(|(known, _)| known.name() == family) {
                Some((_, zones)) => zones.push(zone),
                None => self.families.push((Family::counter(&family, &help), vec![zone])),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), CollectError> {
        self.families.iter_mut().flat_map(|(_, zones)| zones).for_each(|zone| zone.joules = None);
        for zone in self.families.iter_mut().flat_map(|(_, zones)| zones) {
            let text = required(&mut zone.energy, &mut self.page)?;
            let energy = number(text).ok_or_else(|| malformed(zone.energy.path(), "a number", text))?;
            zone.joules = Some(energy as f64 / MICROJOULES);
        }
        Ok(())
    }
}

/// `package-1` is the package with the index 1; of zones with the same name, each has the next index.
fn index_and_name(used: &HashMap<String, i64>, name: &str) -> (i64, String) {
    if let [stem, index] = name.split('-').collect::<Vec<_>>()[..]
        && let Ok(index) = index.parse()
    {
        return (index, stem.to_owned());
    }
    (used.get(name).copied().unwrap_or_default(), name.to_owned())
}

impl Collector for Rapl {
    fn name(&self) -> &'static str {
        "rapl"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let has_changed = self.zones.refresh(|_| true, |path, _| path.to_owned())?;
        if has_changed {
            self.find().inspect_err(|_| self.zones.forget())?;
        }
        let read = self.read();
        for (family, zones) in &self.families {
            let mut samples = scrape.out.family(family);
            zones
                .iter()
                .filter_map(|zone| Some((zone, zone.joules?)))
                .for_each(|(zone, joules)| samples.with(&zone.labels, joules));
        }
        scrape.failed = read.err();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::index_and_name;
    use std::collections::HashMap;

    #[test]
    fn zones_have_the_index_in_their_name_or_are_counted() {
        let used = HashMap::from([("dram".to_owned(), 2)]);
        assert_eq!(index_and_name(&used, "package-10"), (10, "package".into()));
        assert_eq!(index_and_name(&used, "package-0-die-1"), (0, "package-0-die-1".into()));
        assert_eq!(
            (index_and_name(&used, "dram"), index_and_name(&used, "psys")),
            ((2, "dram".into()), (0, "psys".into()))
        );
    }
}

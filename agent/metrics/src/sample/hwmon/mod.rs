//! Temperatures, fans, voltages: in come the files of the chips, out go families by what is measured.
//!
//! Which files a chip has is looked up when chips or their files come or go; a scrape reads those with numbers alone.

/// What a chip has.
mod chip;
/// What a sensor's files mean.
mod sensor;

use super::kernel_file::float;
use super::sysfs::{Devices, Page};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use chip::{Found, Reading};
use hostwright_core::config::metrics::collectors::hwmon as options;
use sensor::Content;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// The chips of this host.
pub struct Hwmon {
    options: options::Hwmon,
    chips: Devices<Chip>,
    names: Family,
    sensor_labels: Family,
    found: Everything,
    failed: Option<CollectError>,
    page: Page,
}

struct Chip {
    folder: PathBuf,
    /// To know when files come or go.
    files: Devices<()>,
}

/// What all chips have.
#[derive(Default)]
struct Everything {
    names: Vec<Labels>,
    labels: Vec<Labels>,
    families: Vec<(Family, Vec<Reading>)>,
}

impl Hwmon {
    pub fn new(roots: &Roots, options: &options::Hwmon) -> Self {
        Self {
            options: options.clone(),
            chips: Devices::new(roots.sysfs.join("class/hwmon")),
            names: Family::gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names"),
            sensor_labels: Family::gauge("node_hwmon_sensor_label", "Label for given chip and sensor"),
            found: Everything::default(),
            failed: None,
            page: Page::default(),
        }
    }

    fn refresh(&mut self) -> Result<(), CollectError> {
        let mut changed = self
            .chips
            .refresh(|_| true, |path, _| Chip { folder: path.to_owned(), files: Devices::new(path.to_owned()) })?;
        for chip in self.chips.iter_mut() {
            // A chip that is gone, or a file that is none, has no files.
            changed |= chip.files.refresh(|_| false, |_, _| ()).unwrap_or(false);
        }
        if changed {
            self.find();
        }
        Ok(())
    }

    fn find(&mut self) {
        self.failed = None;
        let mut all = Vec::new();
        for chip in self.chips.iter().filter(|chip| chip.folder.is_dir()) {
            match chip::find(&chip.folder, &self.options) {
                Ok(found) => all.push(found),
                // The others are told all the same.
                Err(source) => self.failed = Some(CollectError::reading(&chip.folder, source)),
            }
        }
        self.found = Everything::of(all);
    }
}

impl Everything {
    /// Two chips may have one name, if they are of one device. A sample must not be there twice, so the first one stays.
    fn of(chips: Vec<Found>) -> Self {
        let mut all = Self::default();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut seen: HashSet<(usize, Labels)> = HashSet::new();
        for chip in chips {
            all.names.extend(chip.name.filter(|labels| !all.names.contains(labels)));
            for labels in chip.labels {
                if !all.labels.contains(&labels) {
                    all.labels.push(labels);
                }
            }
            for (family, reading) in chip.readings {
                let at = *places.entry(family.name().to_owned()).or_insert_with(|| {
                    all.families.push((family, Vec::new()));
                    all.families.len() - 1
                });
                if seen.insert((at, reading.labels.clone())) {
                    all.families[at].1.push(reading);
                }
            }
        }
        all
    }
}

impl Collector for Hwmon {
    fn name(&self) -> &'static str {
        "hwmon"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.refresh()?;
        let mut samples = scrape.out.family(&self.names);
        self.found.names.iter().for_each(|labels| samples.with(labels, true));
        let mut samples = scrape.out.family(&self.sensor_labels);
        self.found.labels.iter().for_each(|labels| samples.with(labels, true));
        for (family, readings) in &mut self.found.families {
            let mut samples = scrape.out.family(family);
            for reading in readings {
                // A sensor that does not answer now is left out, as is one without a number.
                let Ok(text) = reading.file.read_cut(&mut self.page) else { continue };
                let lines = text.split(|byte| *byte == b'\n');
                let Some(text) = lines.into_iter().find(|line| !line.is_empty()) else { continue };
                match reading.content {
                    Content::Switch => samples.with(&reading.labels, text == b"1"),
                    Content::Number(unit) => {
                        if let Some(number) = float(text) {
                            samples.with(&reading.labels, unit.of(number));
                        }
                    }
                }
            }
        }
        scrape.failed.clone_from(&self.failed);
        Ok(())
    }
}

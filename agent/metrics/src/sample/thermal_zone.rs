use super::sysfs::{Attribute, Devices, Page, Texts, decimal, malformed};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::Family;
use std::path::Path;

const MILLIDEGREES: f64 = 1000.0;

/// Temperatures that the kernel acts upon, and what it does about them.
pub struct ThermalZone {
    zones: Devices<Zone>,
    cooling: Devices<Cooling>,
    temperature: Family,
    state: Family,
    most: Family,
    page: Page,
}

struct Zone {
    texts: Texts,
    file: Attribute,
    temperature: Option<i64>,
}

struct Cooling {
    texts: Texts,
    kind: Attribute,
    files: [Attribute; 2],
    /// The state now, and the highest one.
    states: Option<[i64; 2]>,
}

impl ThermalZone {
    pub fn new(roots: &Roots) -> Self {
        let class = roots.sysfs.join("class/thermal");
        Self {
            zones: Devices::new(class.clone()),
            cooling: Devices::new(class),
            temperature: Family::gauge("node_thermal_zone_temp", "Zone temperature in Celsius"),
            state: Family::gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device"),
            most: Family::gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device"),
            page: Page::default(),
        }
    }

    fn read_zones(&mut self) -> Result<(), CollectError> {
        let found = self.zones.refresh(
            |entry| entry.is_numbered("thermal_zone"),
            |path, name| Zone {
                texts: texts("zone", path, &name["thermal_zone".len()..]),
                file: Attribute::new(path.join("temp")),
                temperature: None,
            },
        );
        ignore_absence(found)?;
        for zone in self.zones.iter_mut() {
            zone.texts.read(&mut self.page);
            // A sensor that sleeps has no temperature, and 0 degrees would be a wrong one.
            zone.temperature = zone.file.read(&mut self.page).ok().and_then(decimal);
        }
        Ok(())
    }

    fn read_cooling(&mut self) -> Result<(), CollectError> {
        let found = self.cooling.refresh(
            |entry| entry.is_numbered("cooling_device"),
            |path, name| Cooling {
                texts: texts("name", path, &name["cooling_device".len()..]),
                kind: Attribute::new(path.join("type")),
                files: ["cur_state", "max_state"].map(|file| Attribute::new(path.join(file))),
                states: None,
            },
        );
        ignore_absence(found)?;
        self.cooling.iter_mut().try_for_each(|device| device.read(&mut self.page))
    }
}

/// A device's number, and its type.
fn texts(label: &'static str, path: &Path, number: &[u8]) -> Texts {
    Texts::new(&[(label, number)]).with("type", Attribute::new(path.join("type")))
}

/// A host without any has none to tell of, which is an answer.
fn ignore_absence(found: Result<bool, CollectError>) -> Result<(), CollectError> {
    match found {
        Err(CollectError::NoData { .. }) => Ok(()),
        found => found.map(drop),
    }
}

impl Cooling {
    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.states = None;
        let mut states = [0; 2];
        if self.kind.read(page).is_err() {
            return Ok(());
        }
        for (file, state) in self.files.iter_mut().zip(&mut states) {
            // One that is gone, or whose driver does not tell it.
            let Ok(text) = file.read(page) else { return Ok(()) };
            *state = decimal(text).ok_or_else(|| malformed(file.path(), "a number", text))?;
        }
        self.texts.read(page);
        self.states = Some(states);
        Ok(())
    }
}

impl Collector for ThermalZone {
    fn name(&self) -> &'static str {
        "thermal_zone"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read_zones()?;
        let mut samples = scrape.out.family(&self.temperature);
        for zone in self.zones.iter() {
            if let Some(temperature) = zone.temperature {
                samples.with(zone.texts.labels(), temperature as f64 / MILLIDEGREES);
            }
        }
        let read = self.read_cooling();
        if let Err(error) = read {
            scrape.failed = Some(error);
            return Ok(());
        }
        for (at, family) in [&self.state, &self.most].into_iter().enumerate() {
            let mut samples = scrape.out.family(family);
            for device in self.cooling.iter() {
                if let Some(states) = device.states {
                    samples.with(device.texts.labels(), states[at]);
                }
            }
        }
        Ok(())
    }
}

use super::sensor::{Content, Place, clean, family};
use crate::encode::{Family, Labels};
use crate::sample::sysfs::{Attribute, Page, list};
use hostwright_core::config::metrics::collectors::hwmon::Hwmon as Options;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file whose number is told.
pub struct Reading {
    pub file: Attribute,
    pub content: Content,
    pub labels: Labels,
}

/// What a chip is found to have.
#[derive(Default)]
pub struct Found {
    /// Its own name and that of its model.
    pub name: Option<Labels>,
    /// Labels of sensors.
    pub labels: Vec<Labels>,
    pub readings: Vec<(Family, Reading)>,
}

/// A sensor's files, by their elements.
type Elements = BTreeMap<String, PathBuf>;

/// Looks through the files of a chip; none where it is not to be told of.
pub fn find(folder: &Path, options: &Options) -> io::Result<Found> {
    let chip = name(folder)?;
    let mut found = Found::default();
    if !options.chips.admits(chip.as_bytes()) {
        return Ok(found);
    }
    let mut sensors = BTreeMap::new();
    gather(folder, &mut sensors)?;
    let device = folder.join("device");
    if device.exists() {
        gather(&device, &mut sensors)?;
    }
    let model = clean(&String::from_utf8_lossy(&fs::read(folder.join("name")).unwrap_or_default()));
    if !model.is_empty() {
        found.name = Some(Labels::new(&[("chip", chip.as_bytes()), ("chip_name", model.as_bytes())]));
    }
    let mut page = Page::default();
    for (sensor, elements) in &sensors {
        if options.sensors.admits(format!("{chip};{sensor}").as_bytes()) {
            found.add(&chip, sensor, elements, &mut page);
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, chip: &str, sensor: &str, elements: &Elements, page: &mut Page) {
        let labels = [("chip", chip.as_bytes()), ("sensor", sensor.as_bytes())];
        let label = elements.get("label").and_then(|path| read(path, page));
        if let Some(label) = &label {
            let [chip, sensor] = labels;
            self.labels.push(Labels::new(&[chip, ("label", label), sensor]));
        }
        let has_own = elements.contains_key("");
        for (element, path) in elements.iter().filter(|(element, _)| *element != "label") {
            let Some(place) = Place::of(sensor) else { continue };
            let place = Place { element, ..place };
            let Some((family, content)) = family(&place, has_own) else { continue };
            // A frequency has its label in the place of its name, and is not told without one.
            let named = match (place.kind, place.element, &label) {
                ("freq", "input", None) => continue,
                ("freq", "input", Some(label)) => clean(&String::from_utf8_lossy(label)),
                _ => sensor.to_owned(),
            };
            let labels = Labels::new(&[labels[0], ("sensor", named.as_bytes())]);
            self.readings.push((family, Reading { file: Attribute::new(path.clone()), content, labels }));
        }
    }
}

/// A text without the ends of lines around it.
fn read(path: &Path, page: &mut Page) -> Option<Vec<u8>> {
    let mut file = Attribute::new(path.to_owned());
    let text = file.read_cut(page).ok()?;
    let is_end = |byte: &u8| *byte == b'\n';
    let begin = text.iter().position(|byte| !is_end(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_end(byte)).map_or(begin, |last| last + 1);
    Some(text[begin..end].to_vec())
}

/// The files of sensors; one in a later folder is in place of its namesake in an earlier one.
fn gather(folder: &Path, sensors: &mut BTreeMap<String, Elements>) -> io::Result<()> {
    for entry in list(folder)?.iter().filter(|entry| !entry.is_folder()) {
        let Ok(name) = std::str::from_utf8(&entry.name) else { continue };
        let Some(place) = Place::of(name) else { continue };
        let path = folder.join(OsStr::from_bytes(&entry.name));
        sensors.entry(place.sensor()).or_default().insert(place.element.to_owned(), path);
    }
    Ok(())
}

/// What stays the same from boot to boot: the device's bus and name, else what the driver says, else the chip's number.
fn name(folder: &Path) -> io::Result<String> {
    let cleaned = |part: Option<&OsStr>| clean(&part.unwrap_or_default().to_string_lossy());
    if let Ok(device) = fs::canonicalize(folder.join("device")) {
        let name = cleaned(device.file_name());
        let bus = cleaned(device.parent().and_then(Path::file_name));
        match (bus.is_empty(), name.is_empty()) {
            (false, false) => return Ok(format!("{bus}_{name}")),
            (true, false) => return Ok(name),
            _ => {}
        }
    }
    let driver = clean(&String::from_utf8_lossy(&fs::read(folder.join("name")).unwrap_or_default()));
    if !driver.is_empty() {
        return Ok(driver);
    }
    let number = cleaned(fs::canonicalize(folder)?.file_name());
    if number.is_empty() { Err(io::Error::other("it has no name")) } else { Ok(number) }
}

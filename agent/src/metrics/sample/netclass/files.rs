use super::device::{Device, FIELDS, TEXTS};
use crate::metrics::sample::CollectError;
use crate::metrics::sample::sysfs::{Attribute, Devices, Page, integer};
use hostwright_core::config::metrics::filter::Filter;
use std::path::{Path, PathBuf};

/// The devices as sysfs tells of them.
pub struct Files {
    devices: Devices<OneDevice>,
    page: Page,
}

struct OneDevice {
    device: Device,
    numbers: [Attribute; FIELDS.len()],
    texts: [Attribute; TEXTS.len()],
}

impl Files {
    pub fn new(class: PathBuf) -> Self {
        Self { devices: Devices::new(class), page: Page::default() }
    }

    /// Reads every file of the devices that are taken.
    pub fn read(&mut self, taken: &Filter) -> Result<(), CollectError> {
        self.devices.refresh(|entry| !entry.is_file() && taken.admits(&entry.name), OneDevice::new)?;
        self.devices.iter_mut().for_each(|device| device.read(&mut self.page));
        Ok(())
    }

    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().map(|one| &one.device)
    }
}

impl OneDevice {
    fn new(path: &Path, name: &[u8]) -> Self {
        Self {
            device: Device::new(name),
            numbers: FIELDS.each_ref().map(|field| Attribute::new(path.join(field.file))),
            texts: TEXTS.map(|file| Attribute::new(path.join(file))),
        }
    }

    fn read(&mut self, page: &mut Page) {
        for (file, value) in self.numbers.iter_mut().zip(&mut self.device.values) {
            // A file that cannot be read is of a number that the device does not have; what is no number is 0 in the
            // original.
            *value = file.read(page).ok().map(|text| integer(text).unwrap_or_default());
        }
        for (at, file) in self.texts.iter_mut().enumerate() {
            self.device.set_text(at, file.read(page).unwrap_or_default());
        }
        self.device.render();
    }
}

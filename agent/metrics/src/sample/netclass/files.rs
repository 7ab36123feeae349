use super::device::{ADDRESS, BROADCAST, Device, FIELDS, TEXTS, at};
use crate::sample::CollectError;
use crate::sample::sysfs::{Attribute, Devices, Page, Seldom, integer};
use hostwright_core::config::metrics::filter::Filter;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The devices as sysfs tells of them.
pub struct Files {
    devices: Devices<OneDevice>,
    page: Page,
}

struct OneDevice {
    device: Device,
    numbers: [Attribute; FIELDS.len()],
    texts: [Attribute; TEXTS.len()],
    /// When what stays is read again at the latest.
    seldom: Seldom,
}

impl Files {
    pub fn new(class: PathBuf) -> Self {
        Self { devices: Devices::new(class), page: Page::default() }
    }

    /// Reads every file of the devices that are taken.
    pub fn read(&mut self, taken: &Filter) -> Result<(), CollectError> {
        self.devices.refresh(|entry| !entry.is_file() && taken.admits(&entry.name), OneDevice::new)?;
        let now = Instant::now();
        self.devices.iter_mut().for_each(|device| device.read(now, &mut self.page));
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
            seldom: Seldom::default(),
        }
    }

    fn read(&mut self, now: Instant, page: &mut Page) {
        let Self { device, numbers, texts, seldom } = self;
        // A file that cannot be read is of a number that the device does not have; what is no number is 0 in the
        // original.
        let value = |text: std::io::Result<&[u8]>| text.ok().map(|text| integer(text).unwrap_or_default());
        let flags = device.values[at::FLAGS];
        let mut changed = false;
        for (place, file) in texts.iter_mut().enumerate().filter(|(place, _)| *place != BROADCAST) {
            let is_new = device.set_text(place, file.read(page).unwrap_or_default());
            changed |= is_new && place == ADDRESS;
        }
        for (place, file) in numbers.iter_mut().enumerate().filter(|(place, _)| !FIELDS[*place].stays) {
            device.values[place] = value(file.read(page));
        }
        if changed || device.values[at::FLAGS] != flags {
            seldom.forget();
        }
        if seldom.is_due(now) {
            for (place, file) in numbers.iter().enumerate().filter(|(place, _)| FIELDS[*place].stays) {
                device.values[place] = value(file.read_once(page));
            }
            device.set_text(BROADCAST, texts[BROADCAST].read_once(page).unwrap_or_default());
        }
        device.render();
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, at};
    use crate::sample::testing::tree;
    use hostwright_core::config::metrics::filter::Filter;
    use std::fs;

    #[test]
    fn what_stays_is_read_again_with_another_address_and_the_rest_at_every_scrape() {
        let files = [("address", "02:00\n"), ("mtu", "1500\n"), ("ifindex", "7\n"), ("flags", "0x1003\n")];
        let files = files.map(|(file, text)| (format!("sys/class/net/eth0/{file}"), text));
        let (_folder, roots) = tree(&files.each_ref().map(|(file, text)| (file.as_str(), *text)));
        let class = roots.sysfs.join("class/net");
        let mut devices = Files::new(class.clone());
        let mut look = || {
            devices.read(&Filter::excluding("^$")).expect("read");
            let device = devices.devices().next().expect("one");
            (device.values[at::MTU], device.values[at::INDEX])
        };
        assert_eq!(look(), (Some(1500), Some(7)));
        fs::write(class.join("eth0/mtu"), "9000\n").expect("written");
        assert_eq!(look(), (Some(9000), Some(7)));
        fs::write(class.join("eth0/ifindex"), "8\n").expect("written");
        fs::write(class.join("eth0/address"), "02:01\n").expect("written");
        assert_eq!(look(), (Some(9000), Some(8)));
    }
}

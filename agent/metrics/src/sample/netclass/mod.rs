//! What network devices are: names, states, speeds; how much goes through them is told by `netdev`.
//!
//! In: rtnetlink for nearly everything, and the few files of sysfs for what it does not tell; of a captured tree, all
//! the files. A device has some twenty of them, and reading them is what this collector costs the original most.

/// What is known of one device.
mod device;
/// From the files of sysfs.
mod files;
/// From rtnetlink.
mod links;

use super::rtnetlink::Links;
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::Family;
use device::{Device, FIELDS, Field};
use files::Files;
use hostwright_core::config::metrics::collectors::netclass as options;
use links::LiveLinks;
use std::path::Path;

/// A megabit in bytes.
const MEGABIT: i64 = 125_000;

/// The network devices of this host.
pub struct Netclass {
    options: options::Netclass,
    source: Source,
    up: Family,
    info: Family,
    /// In the order of [`FIELDS`].
    families: Vec<Family>,
}

enum Source {
    Links(LiveLinks),
    Files(Files),
}

impl Netclass {
    pub fn new(roots: &Roots, options: &options::Netclass) -> Self {
        let class = roots.sysfs.join("class/net");
        let is_live = roots.are_live() && roots.sysfs == Path::new("/sys");
        let family = |field: &Field| {
            let (name, help) =
                (format!("node_network_{}", field.name), format!("Network device property: {}", field.name));
            if field.counts { Family::counter(&name, &help) } else { Family::gauge(&name, &help) }
        };
        Self {
            options: options.clone(),
            source: if is_live { Source::Links(LiveLinks::new(class)) } else { Source::Files(Files::new(class)) },
            up: Family::gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise."),
            info: Family::gauge(
                "node_network_info",
                "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
            ),
            families: FIELDS.iter().map(family).collect(),
        }
    }

    fn read(&mut self, all: &mut Links) -> Result<(), CollectError> {
        let taken = &self.options.devices;
        if let Source::Links(links) = &mut self.source {
            match links.read(all, taken) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    log::info!("metrics: rtnetlink gives no devices ({error}); sysfs is read in its place");
                    self.source = Source::Files(links.to_files());
                }
            }
        }
        match &mut self.source {
            Source::Files(files) => files.read(taken),
            Source::Links(_) => Ok(()),
        }
    }

    fn write<'d, I: Iterator<Item = &'d Device>>(&self, scrape: &mut Scrape<'_>, devices: impl Fn() -> I) {
        let mut samples = scrape.out.family(&self.up);
        devices().for_each(|device| samples.with(&device.labels, device.is_up()));
        let mut samples = scrape.out.family(&self.info);
        devices().for_each(|device| samples.with(device.info(), true));
        for (at, (field, family)) in FIELDS.iter().zip(&self.families).enumerate() {
            let mut samples = scrape.out.family(family);
            for device in devices() {
                let Some(value) = device.values[at] else { continue };
                if field.name != "speed_bytes" {
                    samples.with(&device.labels, value);
                } else if value >= 0 || !self.options.ignore_invalid_speed {
                    samples.with(&device.labels, value.wrapping_mul(MEGABIT));
                }
            }
        }
    }
}

impl Collector for Netclass {
    fn name(&self) -> &'static str {
        "netclass"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read(scrape.links)?;
        match &self.source {
            Source::Links(links) => self.write(scrape, || links.devices()),
            Source::Files(files) => self.write(scrape, || files.devices()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Netclass, Source};
    use crate::sample::Roots;
    use crate::sample::testing::samples;
    use hostwright_core::config::metrics::collectors::netclass::Netclass as Options;

    #[test]
    fn rtnetlink_and_the_files_tell_the_same_of_this_host() {
        let roots = Roots::default();
        let mut both = [Netclass::new(&roots, &Options::default()), Netclass::new(&roots, &Options::default())];
        let [links, files] = &mut both;
        if let Source::Links(source) = &files.source {
            files.source = Source::Files(source.to_files());
        }
        // A device may come or go meanwhile, or change its state.
        let tries = (0..50).map(|_| (samples(links, &roots), samples(files, &roots)));
        let mut differences = Vec::new();
        for (mut from_links, mut from_files) in tries {
            from_links.sort();
            from_files.sort();
            if from_links == from_files {
                assert!(from_links.iter().any(|line| line.contains("device=\"lo\"")), "{from_links:?}");
                return;
            }
            differences = from_links.into_iter().filter(|line| !from_files.contains(line)).collect();
        }
        panic!("always different: {differences:?}");
    }
}

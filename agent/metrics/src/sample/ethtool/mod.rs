//! What drivers of network devices count, and what their ports can do.
//!
//! In: rtnetlink's devices, and for each of them three ioctls, of which some drivers ask their firmware: therefore it is
//! off by default. What is rendered is kept as long as the device says the same. Of a captured tree nothing is known.

/// How a driver is asked.
mod ioctl;
/// What ports can do, by bits.
mod modes;
/// The drivers' own numbers.
mod statistics;

use super::rtnetlink::Links;
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels, Samples};
use hostwright_core::config::metrics::collectors::ethtool as options;
use ioctl::{Driver, Kernel, Settings};
use modes::{ASYMMETRIC_PAUSE, AUTONEGOTIATION, MEGABIT, PAUSE, PORTS, SPEEDS};
use nix::errno::Errno;
use statistics::Statistics;
use std::path::Path;

/// What is told of ports: families of 0 and 1, each with the bit that it is about.
const ABILITIES: [(&str, &str, u32); 3] = [
    ("autonegotiate", "this port device ACTS autonegotiate", AUTONEGOTIATION),
    ("pause", "this port device ACTS pause", PAUSE),
    ("asymmetricpause", "this port device ACTS asymmetric pause", ASYMMETRIC_PAUSE),
];

/// Network devices' drivers and ports.
pub struct Ethtool {
    options: options::Ethtool,
    is_live: bool,
    kernel: Option<Kernel>,
    devices: Vec<Device>,
    statistics: Statistics,
    families: Families,
    troubles: Vec<String>,
}

struct Families {
    info: Family,
    port: Family,
    /// Of what is supported, then of what is advertised.
    speeds: [Family; 2],
    abilities: [[Family; 3]; 2],
    autonegotiates: Family,
}

/// One device with what it said last.
struct Device {
    name: Vec<u8>,
    label: Labels,
    driver: Option<Driver>,
    info: Labels,
    /// Where each of the driver's numbers goes.
    numbers: Vec<Option<String>>,
    settings: Option<Settings>,
    ports: Vec<Labels>,
    speeds: [Vec<(Labels, u64)>; 2],
}

impl Ethtool {
    pub fn new(roots: &Roots, options: &options::Ethtool) -> Self {
        Self {
            options: options.clone(),
            is_live: roots.are_live(),
            kernel: None,
            devices: Vec::new(),
            statistics: Statistics::default(),
            families: Families::new(),
            troubles: Vec::new(),
        }
    }

    /// Those that are there now, in the kernel's order.
    fn find(&mut self, links: &mut Links) -> std::io::Result<()> {
        let Self { devices, options, .. } = self;
        let mut used = 0;
        links.read(|link| {
            let Some(name) = link.name().filter(|name| options.devices.admits(name)) else { return };
            match devices[used..].iter().position(|device| device.name == name) {
                Some(ahead) => devices.swap(used, used + ahead),
                None => devices.insert(used, Device::new(name)),
            }
            used += 1;
        })?;
        devices.truncate(used);
        Ok(())
    }

    fn ask(&mut self) -> nix::Result<()> {
        let Self { kernel, devices, statistics, options, troubles, .. } = self;
        let kernel = match kernel {
            Some(kernel) => kernel,
            None => kernel.insert(Kernel::open()?),
        };
        troubles.clear();
        statistics.begin();
        for (at, device) in devices.iter_mut().enumerate() {
            device.ask_settings(kernel, troubles);
            let count = device.ask_driver(kernel, (statistics, options), troubles);
            if count == 0 {
                continue;
            }
            match kernel.numbers(&device.name, count) {
                Ok(numbers) => {
                    for (number, family) in numbers.zip(&device.numbers) {
                        if let Some(family) = family {
                            statistics.put(family, at, number);
                        }
                    }
                }
                Err(error) => tell(troubles, (&device.name, "numbers"), error),
            }
        }
        Ok(())
    }

    fn write(&self, scrape: &mut Scrape<'_>) {
        let (families, devices) = (&self.families, &self.devices);
        let settings = || devices.iter().filter_map(|device| Some((device, device.settings?)));
        let mut samples = scrape.out.family(&families.port);
        devices.iter().flat_map(|device| &device.ports).for_each(|labels| samples.with(labels, true));
        for side in [0, 1] {
            let bits = |settings: Settings| [settings.supported, settings.advertised][side];
            let mut samples = scrape.out.family(&families.speeds[side]);
            let speeds = devices.iter().flat_map(|device| &device.speeds[side]);
            speeds.for_each(|(labels, speed)| samples.with(labels, *speed));
            for (family, (.., bit)) in families.abilities[side].iter().zip(ABILITIES) {
                let mut samples = scrape.out.family(family);
                settings().for_each(|(device, settings)| samples.with(&device.label, bits(settings) & bit != 0));
            }
        }
        let mut samples = scrape.out.family(&families.autonegotiates);
        settings().for_each(|(device, settings)| samples.with(&device.label, u64::from(settings.autonegotiates)));
        let mut samples = scrape.out.family(&families.info);
        let known = devices.iter().filter(|device| device.driver.is_some());
        known.for_each(|device| samples.with(&device.info, true));
        for statistic in self.statistics.iter() {
            let mut samples: Samples<'_> = scrape.out.family(&statistic.family);
            statistic.numbers.iter().for_each(|(at, number)| samples.with(&devices[*at].label, *number));
        }
    }
}

impl Device {
    fn new(name: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            label: Labels::new(&[("device", name)]),
            driver: None,
            info: Labels::default(),
            numbers: Vec::new(),
            settings: None,
            ports: Vec::new(),
            speeds: Default::default(),
        }
    }

    fn ask_settings(&mut self, kernel: &mut Kernel, troubles: &mut Vec<String>) {
        let settings = match kernel.settings(&self.name) {
            Ok(settings) => Some(settings),
            Err(error) => {
                tell(troubles, (&self.name, "settings"), error);
                None
            }
        };
        if self.settings != settings {
            self.settings = settings;
            self.render_settings();
        }
    }

    fn render_settings(&mut self) {
        let settings = self.settings.unwrap_or_default();
        let has = |bits: u32, bit: u32| bits & (1 << bit) != 0;
        let port = |name: &str| Labels::new(&[("device", &self.name), ("type", name.as_bytes())]);
        let ports = PORTS.iter().filter(|(bit, _)| has(settings.supported, *bit));
        self.ports = ports.map(|(_, name)| port(name)).collect();
        self.speeds = [settings.supported, settings.advertised].map(|bits| {
            let speeds = SPEEDS.iter().filter(|(bit, ..)| has(bits, *bit));
            let rendered = speeds.map(|(_, megabits, duplex, kind)| {
                let mode = format!("{megabits}base{kind}");
                let labels = [("device", &self.name[..]), ("duplex", duplex.as_bytes()), ("mode", mode.as_bytes())];
                (Labels::new(&labels), megabits * MEGABIT)
            });
            rendered.collect()
        });
    }

    /// How many numbers the driver counts; their names are asked for where it is not the same driver as before.
    fn ask_driver(
        &mut self,
        kernel: &mut Kernel,
        (statistics, options): (&mut Statistics, &options::Ethtool),
        troubles: &mut Vec<String>,
    ) -> u32 {
        let driver = match kernel.driver(&self.name) {
            Ok(driver) => driver,
            Err(error) => {
                tell(troubles, (&self.name, "driver"), error);
                self.driver = None;
                return 0;
            }
        };
        if self.driver != Some(driver) {
            self.render_driver(&driver);
            self.numbers.clear();
            if driver.statistics > 0 {
                match kernel.names(&self.name, driver.statistics) {
                    Ok(names) => self.numbers = statistics.families_of(names, &options.metrics),
                    Err(error) => {
                        tell(troubles, (&self.name, "names of numbers"), error);
                        self.driver = None;
                        return 0;
                    }
                }
            }
            self.driver = Some(driver);
        }
        driver.statistics
    }

    fn render_driver(&mut self, driver: &Driver) {
        let [name, version, firmware, bus, rom] = driver.texts();
        self.info.set(&[
            ("bus_info", bus),
            ("device", &self.name),
            ("driver", name),
            ("expansion_rom_version", rom),
            ("firmware_version", firmware),
            ("version", version),
        ]);
    }
}

/// Most devices that are none of hardware answer nothing, and one may go meanwhile: no trouble.
fn tell(troubles: &mut Vec<String>, (device, what): (&[u8], &str), error: Errno) {
    if !matches!(error, Errno::EOPNOTSUPP | Errno::ENODEV) {
        let device = String::from_utf8_lossy(device);
        troubles.push(format!("the driver of {device} does not tell its {what}: {}", error.desc()));
    }
}

impl Families {
    fn new() -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_{name}"), help);
        let abilities = |side: &str, act: &str| {
            ABILITIES.map(|(ability, help, _)| {
                let mut help = format!("If {}", help.replace("ACTS", act));
                if ability.ends_with("pause") {
                    help.push_str(if side == "supported" { " frames" } else { " capability" });
                }
                gauge(&format!("network_{ability}_{side}"), &help)
            })
        };
        Self {
            info: gauge(
                "ethtool_info",
                "A metric with a constant '1' value labeled by bus_info, device, driver, expansion_rom_version, \
                 firmware_version, version.",
            ),
            port: gauge("network_supported_port_info", "Type of ports or PHYs supported by network device"),
            speeds: [
                gauge(
                    "network_supported_speed_bytes",
                    "Combination of speeds and features supported by network device",
                ),
                gauge("network_advertised_speed_bytes", "Combination of speeds and features offered by network device"),
            ],
            abilities: [abilities("supported", "supports"), abilities("advertised", "offers")],
            autonegotiates: gauge("network_autonegotiate", "If this port is using autonegotiate"),
        }
    }
}

impl Collector for Ethtool {
    fn name(&self) -> &'static str {
        "ethtool"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        if !self.is_live {
            return Err(CollectError::NoData { path: "kernel of this tree".into() });
        }
        self.find(scrape.links).map_err(|error| CollectError::reading(Path::new("rtnetlink(7)"), error))?;
        self.ask().map_err(|error| CollectError::reading(Path::new("ethtool"), error.into()))?;
        self.write(scrape);
        Ok(())
    }

    fn troubles(&self) -> &[String] {
        &self.troubles
    }
}

#[cfg(test)]
mod tests {
    use super::{Device, Ethtool, Labels, Settings};
    use crate::sample::Roots;
    use crate::sample::testing::{collect, samples};

    #[test]
    fn devices_that_tell_nothing_are_no_trouble_and_a_captured_tree_has_none() {
        let roots = Roots::default();
        let mut ethtool = Ethtool::new(&roots, &Default::default());
        let lines = samples(&mut ethtool, &roots);
        assert_eq!(samples(&mut ethtool, &roots).len(), lines.len(), "the second time, with what is kept");
        assert!(ethtool.troubles.is_empty(), "{:?}", ethtool.troubles);
        let roots = Roots { procfs: "/nowhere".into(), ..roots };
        assert!(collect(&mut Ethtool::new(&roots, &Default::default()), &roots).is_err());
    }

    #[test]
    fn a_ports_modes_are_told_with_speed_and_duplex() {
        let mut device = Device::new(b"eth0");
        device.settings = Some(Settings { supported: 1 << 5 | 1 << 7, advertised: 1 << 31, autonegotiates: 1 });
        device.render_settings();
        let [supported, advertised] = &device.speeds;
        assert_eq!((device.ports.len(), supported.len(), advertised.len()), (1, 1, 1));
        assert_eq!((supported[0].1, advertised[0].1), (125_000_000, 3_125_000_000));
        let labels = [("device", &b"eth0"[..]), ("duplex", b"full"), ("mode", b"25000baseCR")];
        assert_eq!(advertised[0].0, Labels::new(&labels));
    }
}

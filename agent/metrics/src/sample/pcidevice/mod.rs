//! PCI devices: what they are, how they are connected, whether they sleep.
//!
//! In: sysfs, and a list of names where they are wanted. Out: `node_pcidevice_*`; what identifies a device is read once.

/// Makers, devices and classes by name.
mod names;

use super::kernel_file::float;
use super::sysfs::{Attribute, Devices, Page, decimal, integer, malformed, required};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::pcidevice as options;
use names::{Names, Numbers};
use std::path::{Path, PathBuf};

/// What identifies a device: the label, the file, and how many digits it is written with.
const IDENTITIES: [(&str, &str, usize); 6] = [
    ("class_id", "class", 6),
    ("device_id", "device", 4),
    ("revision", "revision", 2),
    ("subsystem_device_id", "subsystem_device", 4),
    ("subsystem_vendor_id", "subsystem_vendor", 4),
    ("vendor_id", "vendor", 4),
];
const STATES: [&str; 7] = ["D0", "D1", "D2", "D3hot", "D3cold", "unknown", "error"];
const LOCATION: [&str; 4] = ["bus", "device", "function", "segment"];
const PARENT: [&str; 4] = ["parent_bus", "parent_device", "parent_function", "parent_segment"];
/// Of devices on the bus itself.
const NO_PARENT: [&str; 4] = ["*"; 4];

/// PCI devices, with their links and power.
pub struct Pcidevice {
    devices: Devices<Device>,
    names: Option<Names>,
    info: Family,
    state: Family,
    numbers: [(Family, Kind); 10],
    page: Page,
}

/// What a file holds, and what is told without it.
#[derive(Clone, Copy)]
enum Kind {
    /// `8.0 GT/s PCIe`, in transfers; or -1.
    Speed(&'static str),
    /// A number, or this one.
    Number(&'static str, f64),
    /// Whether a number is another one than 0.
    Switch(&'static str),
    /// A number, where it is not -1.
    Node(&'static str),
}

impl Kind {
    fn file(self) -> &'static str {
        let (Self::Speed(file) | Self::Number(file, _) | Self::Switch(file) | Self::Node(file)) = self;
        file
    }

    /// The value of a text, which is empty where there is none; none within where it is not told.
    fn of(self, text: &[u8]) -> Option<Option<f64>> {
        let is_known = !text.is_empty() && !text.starts_with(b"Unknown");
        Some(match self {
            Self::Speed(_) if is_known => Some(float(text.strip_suffix(b" GT/s PCIe")?.trim_ascii())? * 1e9),
            Self::Speed(_) => Some(-1.0),
            Self::Number(..) if is_known => Some(decimal(text)? as f64),
            Self::Number(_, absent) => Some(absent),
            Self::Switch(_) => Some(f64::from(is_known && decimal(text)? != 0)),
            Self::Node(_) if is_known => Some(decimal(text)? as f64).filter(|node| *node != -1.0),
            Self::Node(_) => None,
        })
    }
}

struct Device {
    path: PathBuf,
    known: Option<Known>,
    files: Vec<Attribute>,
    values: Vec<Option<f64>>,
    state_file: Attribute,
    state: Vec<u8>,
}

/// What stays as long as the device does.
struct Known {
    labels: Labels,
    info: Labels,
    states: [Labels; STATES.len()],
}

impl Pcidevice {
    pub fn new(roots: &Roots, options: &options::Pcidevice) -> Self {
        let number = |name: &str, help: &str, kind| (Family::gauge(&format!("node_pcidevice_{name}"), help), kind);
        Self {
            devices: Devices::new(roots.sysfs.join("bus/pci/devices")),
            names: options.names.then(|| Names::read(options.idsfile.as_deref())),
            info: Family::gauge(
                "node_pcidevice_info",
                "Non-numeric data from /sys/bus/pci/devices/<location>, value is always 1.",
            ),
            state: Family::gauge(
                "node_pcidevice_power_state",
                "PCIe device power state, one of: D0, D1, D2, D3hot, D3cold, unknown or error.",
            ),
            numbers: [
                number(
                    "current_link_transfers_per_second",
                    "Value of current link's transfers per second (T/s)",
                    Kind::Speed("current_link_speed"),
                ),
                number(
                    "current_link_width",
                    "Value of current link's width (number of lanes)",
                    Kind::Number("current_link_width", -1.0),
                ),
                number(
                    "d3cold_allowed",
                    "Whether the PCIe device supports D3cold power state (0/1).",
                    Kind::Switch("d3cold_allowed"),
                ),
                number(
                    "max_link_transfers_per_second",
                    "Value of maximum link's transfers per second (T/s)",
                    Kind::Speed("max_link_speed"),
                ),
                number(
                    "max_link_width",
                    "Value of maximum link's width (number of lanes)",
                    Kind::Number("max_link_width", -1.0),
                ),
                number(
                    "numa_node",
                    "NUMA node number for the PCI device. -1 indicates unknown or not available.",
                    Kind::Node("numa_node"),
                ),
                number(
                    "sriov_drivers_autoprobe",
                    "Whether SR-IOV drivers autoprobe is enabled for the device (0/1).",
                    Kind::Switch("sriov_drivers_autoprobe"),
                ),
                number(
                    "sriov_numvfs",
                    "Number of Virtual Functions (VFs) currently enabled for SR-IOV.",
                    Kind::Number("sriov_numvfs", 0.0),
                ),
                number(
                    "sriov_totalvfs",
                    "Total number of Virtual Functions (VFs) supported by the device.",
                    Kind::Number("sriov_totalvfs", 0.0),
                ),
                number(
                    "sriov_vf_total_msix",
                    "Total number of MSI-X vectors for Virtual Functions.",
                    Kind::Number("sriov_vf_total_msix", 0.0),
                ),
            ],
            page: Page::default(),
        }
    }
}

impl Device {
    fn new(path: &Path, numbers: &[(Family, Kind)]) -> Self {
        Self {
            known: None,
            files: numbers.iter().map(|(_, kind)| Attribute::new(path.join(kind.file()))).collect(),
            values: vec![None; numbers.len()],
            state_file: Attribute::new(path.join("power_state")),
            state: Vec::new(),
            path: path.to_owned(),
        }
    }

    fn read(&mut self, page: &mut Page, numbers: &[(Family, Kind)], names: Option<&Names>) -> Result<(), CollectError> {
        if self.known.is_none() {
            self.known = Some(Known::of(&self.path, page, names)?);
        }
        for ((file, value), (_, kind)) in self.files.iter_mut().zip(&mut self.values).zip(numbers) {
            let text = file.read(page).unwrap_or_default();
            *value = kind.of(text).ok_or_else(|| malformed(file.path(), "a number in its unit", text))?;
        }
        let state = self.state_file.read(page).unwrap_or_default();
        if self.state != state {
            self.state = state.to_vec();
        }
        Ok(())
    }
}

impl Known {
    fn of(path: &Path, page: &mut Page, names: Option<&Names>) -> Result<Self, CollectError> {
        let place = std::fs::read_link(path).map_err(|source| CollectError::reading(path, source))?;
        let name = |path: Option<&Path>| {
            path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let wrong = |name: &str| malformed(path, "a link to a device such as 0000:00:1f.2", name.as_bytes());
        let (own, parent) = (name(Some(&place)), name(place.parent()));
        let own = location(&own).ok_or_else(|| wrong(&own))?;
        let parent = if parent.starts_with("pci") {
            NO_PARENT.map(str::to_owned)
        } else {
            location(&parent).ok_or_else(|| wrong(&parent))?
        };
        let mut pairs: Vec<(&str, String)> = LOCATION.into_iter().zip(own).collect();
        let labels = as_labels(&pairs);
        let states = STATES.map(|state| {
            let mut all = pairs.clone();
            all.push(("state", state.to_owned()));
            as_labels(&all)
        });
        pairs.extend(PARENT.into_iter().zip(parent));
        for (label, file, digits) in IDENTITIES {
            let mut file = Attribute::new(path.join(file));
            let text = required(&mut file, page)?;
            let number = integer(text).ok_or_else(|| malformed(file.path(), "a number", text))?;
            pairs.push((label, format!("0x{number:0digits$x}")));
        }
        if let Some(names) = names {
            let all = named(&pairs, names);
            pairs.extend(names::LABELS.into_iter().zip(all));
        }
        pairs.sort();
        Ok(Self { labels, info: as_labels(&pairs), states })
    }
}

/// The names for the numbers among the labels.
fn named(pairs: &[(&str, String)], names: &Names) -> [String; names::LABELS.len()] {
    let of = |label| pairs.iter().find(|(known, _)| *known == label).map_or("", |(_, number)| number.as_str());
    names.of(&Numbers {
        vendor: of("vendor_id"),
        device: of("device_id"),
        subsystem_vendor: of("subsystem_vendor_id"),
        subsystem_device: of("subsystem_device_id"),
        class: of("class_id"),
    })
}

fn as_labels(pairs: &[(&str, String)]) -> Labels {
    Labels::new(&pairs.iter().map(|(label, text)| (*label, text.as_bytes())).collect::<Vec<_>>())
}

/// `0000:1f:02.3` as bus, device, function and segment.
fn location(name: &str) -> Option<[String; 4]> {
    let (segment, rest) = name.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let (segment, bus) = (number(segment)?, number(bus)?);
    let (device, function) = (number(device)?, number(function)?);
    Some([format!("{bus:02x}"), format!("{device:02x}"), format!("{function:x}"), format!("{segment:04x}")])
}

impl Collector for Pcidevice {
    fn name(&self) -> &'static str {
        "pcidevice"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.devices.refresh(|_| true, |path, _| Device::new(path, &self.numbers))?;
        for device in self.devices.iter_mut() {
            device.read(&mut self.page, &self.numbers, self.names.as_ref())?;
        }
        let known = || self.devices.iter().filter_map(|device| Some((device, device.known.as_ref()?)));
        let mut samples = scrape.out.family(&self.info);
        known().for_each(|(_, known)| samples.with(&known.info, true));
        for (at, (family, _)) in self.numbers.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            for (device, known) in known() {
                if let Some(value) = device.values[at] {
                    samples.with(&known.labels, value);
                }
            }
        }
        let mut samples = scrape.out.family(&self.state);
        for (device, known) in known().filter(|(device, _)| !device.state.is_empty()) {
            let states = STATES.iter().zip(&known.states);
            states.for_each(|(state, labels)| samples.with(labels, device.state == state.as_bytes()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, location};

    #[test]
    fn locations_are_told_in_their_parts() {
        assert_eq!(location("10000:0a:1f.7"), Some(["0a", "1f", "7", "10000"].map(str::to_owned)));
        assert!(["pci0000:00", "0000:00:1f", "0000:00:1f.x", ""].iter().all(|name| location(name).is_none()));
    }

    #[test]
    fn what_is_not_known_is_told_as_the_original_does() {
        let speed = Kind::Speed("current_link_speed");
        assert_eq!(
            (speed.of(b"8.0 GT/s PCIe"), speed.of(b"Unknown"), speed.of(b"8.0 GT/s")),
            (Some(Some(8e9)), Some(Some(-1.0)), None)
        );
        let node = Kind::Node("numa_node");
        assert_eq!(
            (node.of(b"1"), node.of(b"-1"), node.of(b""), node.of(b"x")),
            (Some(Some(1.0)), Some(None), Some(None), None)
        );
    }
}

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where distributions have the list.
const LISTS: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];
/// Labels of the names.
pub const LABELS: [&str; 5] =
    ["vendor_name", "device_name", "subsystem_vendor_name", "subsystem_device_name", "class_name"];

/// The names of makers, devices and classes, from a list such as `pci.ids`. What has none is told by number.
#[derive(Debug, Default)]
pub struct Names {
    /// `8086`, `8086 1533`, `8086 1533 8086 0001`.
    devices: HashMap<String, String>,
    /// `01`, `0108`, `010802`.
    classes: HashMap<String, String>,
}

/// The numbers of a device, as its labels have them: `0x8086`.
pub struct Numbers<'n> {
    pub vendor: &'n str,
    pub device: &'n str,
    pub subsystem_vendor: &'n str,
    pub subsystem_device: &'n str,
    pub class: &'n str,
}

impl Names {
    /// Those of this list, or of the distribution's. Without one there are no names.
    pub fn read(list: Option<&Path>) -> Self {
        let lists: Vec<PathBuf> = list.map_or_else(|| LISTS.map(PathBuf::from).into(), |list| vec![list.to_owned()]);
        match lists.iter().find_map(|list| fs::read(list).ok()) {
            Some(text) => Self::parse(&String::from_utf8_lossy(&text)),
            None => {
                let all: Vec<String> = lists.iter().map(|list| list.display().to_string()).collect();
                log::warn!("metrics: pcidevice has no names: none of {} can be read; install pci.ids", all.join(", "));
                Self::default()
            }
        }
    }

    /// A tab for each level: maker, device, subsystem; or class, subclass, programming interface.
    pub fn parse(text: &str) -> Self {
        let mut names = Self::default();
        let (mut in_classes, mut path) = (false, Vec::<String>::new());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let depth = line.bytes().take_while(|byte| *byte == b'\t').count();
            let Some((number, name)) = line[depth..].split_once("  ") else { continue };
            let (mut number, name) = (number.trim(), name.trim());
            if depth == 0 {
                in_classes = line.starts_with("C ");
                number = if in_classes { number[1..].trim() } else { number };
            }
            if depth > path.len() || depth > 2 {
                continue;
            }
            path.truncate(depth);
            path.push(number.to_owned());
            let (known, joint) = if in_classes { (&mut names.classes, "") } else { (&mut names.devices, " ") };
            known.insert(path.join(joint), name.to_owned());
        }
        names
    }

    /// In the order of [`LABELS`].
    pub fn of(&self, numbers: &Numbers<'_>) -> [String; LABELS.len()] {
        let plain = |number: &str| number.trim_start_matches("0x").to_ascii_lowercase();
        let (vendor, device) = (plain(numbers.vendor), plain(numbers.device));
        let (maker, part) = (plain(numbers.subsystem_vendor), plain(numbers.subsystem_device));
        let class = plain(numbers.class);
        let known = |key: &str, number: &str| self.devices.get(key).map_or_else(|| number.to_owned(), Clone::clone);
        let of_class = [6, 4, 2].iter().find_map(|length| self.classes.get(class.get(..*length)?));
        [
            known(&vendor, &vendor),
            known(&format!("{vendor} {device}"), &device),
            known(&maker, &maker),
            known(&format!("{vendor} {device} {maker} {part}"), &part),
            of_class.map_or_else(|| format!("Unknown class ({class})"), Clone::clone),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Numbers};

    const LIST: &str = "# A list\n\n8086  Intel Corporation\n\t1533  I210 Gigabit\n\t\t8086 0001  Ethernet I210-T1\n\
        1af4  Red Hat, Inc.\nC 01  Mass storage controller\n\t08  Non-Volatile memory controller\n\t\t02  NVM Express\n\
        C 02  Network controller\n\nffff  Illegal Vendor ID\n";

    #[test]
    fn names_are_found_at_every_level_and_numbers_stand_for_those_without() {
        let names = Names::parse(LIST);
        let of = |device, subsystem_device, class| {
            names.of(&Numbers { vendor: "0x8086", device, subsystem_vendor: "0x1af4", subsystem_device, class })
        };
        let maker = ("Intel Corporation", "Red Hat, Inc.");
        let all = of("0x1533", "0x0001", "0x010802");
        assert_eq!(all, [maker.0, "I210 Gigabit", maker.1, "0001", "NVM Express"].map(str::to_owned));
        let all = of("0xABCD", "0x0002", "0x020000");
        assert_eq!(all, [maker.0, "abcd", maker.1, "0002", "Network controller"].map(str::to_owned));
        assert_eq!(of("0x1533", "0x1", "0x060400")[4], "Unknown class (060400)");
        let own = names.of(&Numbers {
            vendor: "0x8086",
            device: "0x1533",
            subsystem_vendor: "0x8086",
            subsystem_device: "0x0001",
            class: "0x0108",
        });
        assert_eq!((own[3].as_str(), own[4].as_str()), ("Ethernet I210-T1", "Non-Volatile memory controller"));
    }

    #[test]
    fn what_is_no_list_has_no_names() {
        for text in ["", "\t\t\t", "C", "C  ", "\t1  x", "\u{fffd}\n\t\t  \n  ", "é  x\n\té  y"] {
            let names = Names::parse(text);
            let none = names.of(&Numbers {
                vendor: "0xé",
                device: "",
                subsystem_vendor: "",
                subsystem_device: "",
                class: "0xaébc",
            });
            assert!(none[4].starts_with("Unknown class"), "{text}");
        }
    }
}

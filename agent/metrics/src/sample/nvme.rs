use super::sysfs::{Attribute, Devices, Page, Texts};
use super::{CollectError, Collector, Roots, Scrape, number};
use crate::encode::{Family, Labels};
use std::path::Path;

/// Labels, each with the file of its value.
const TEXTS: [(&str, &str); 5] = [
    ("cntlid", "cntlid"),
    ("firmware_revision", "firmware_rev"),
    ("model", "model"),
    ("serial", "serial"),
    ("state", "state"),
];

/// NVMe controllers and their namespaces.
pub struct Nvme {
    controllers: Devices<Controller>,
    families: Families,
    page: Page,
}

struct Families {
    info: Family,
    namespace_info: Family,
    capacity: Family,
    size: Family,
    used: Family,
    block: Family,
}

struct Controller {
    name: Vec<u8>,
    texts: Texts,
    namespaces: Devices<Namespace>,
}

type ValueOf = fn(&Namespace) -> Option<u64>;

struct Namespace {
    labels: Labels,
    info: Info,
    used: Count,
    size: Count,
    block: Count,
}

/// The sample with the state of a path to the namespace, which kernels without multipath do not tell.
struct Info {
    device: Vec<u8>,
    number: Vec<u8>,
    file: Attribute,
    state: Vec<u8>,
    labels: Labels,
}

struct Count {
    file: Attribute,
    value: Option<u64>,
}

impl Count {
    fn read(&mut self, page: &mut Page) {
        // What is no number is 0 in the original.
        self.value = self.file.read(page).ok().map(|text| number(text).unwrap_or_default());
    }
}

impl Info {
    fn read(&mut self, page: &mut Page) {
        let state = self.file.read(page).unwrap_or(b"unknown");
        if self.state != state || self.labels == Labels::default() {
            self.state = state.to_vec();
            self.labels.set(&[("ana_state", state), ("device", &self.device), ("nsid", &self.number)]);
        }
    }
}

impl Namespace {
    fn new(path: &Path, device: &[u8], number: &[u8]) -> Self {
        let count = |file: &str| Count { file: Attribute::new(path.join(file)), value: None };
        Self {
            labels: Labels::new(&[("device", device), ("nsid", number)]),
            info: Info {
                device: device.to_vec(),
                number: number.to_vec(),
                file: Attribute::new(path.join("ana_state")),
                state: Vec::new(),
                labels: Labels::default(),
            },
            used: count("nuse"),
            size: count("size"),
            block: count("queue/logical_block_size"),
        }
    }

    /// Blocks in bytes.
    fn bytes(&self, blocks: &Count) -> Option<u64> {
        Some(blocks.value?.wrapping_mul(self.block.value?))
    }
}

impl Controller {
    fn new(path: &Path, name: &[u8]) -> Self {
        let file = |name: &str| Attribute::new(path.join(name));
        Self {
            name: name.to_vec(),
            texts: TEXTS
                .iter()
                .fold(Texts::new(&[("device", name)]), |texts, (label, name)| texts.with(label, file(name))),
            namespaces: Devices::new(path.to_owned()),
        }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.texts.read(page);
        let device = &self.name;
        let found = self.namespaces.refresh(
            |entry| namespace_number(&entry.name).is_some(),
            |path, name| Namespace::new(path, device, namespace_number(name).unwrap_or_default()),
        );
        // A controller that went away meanwhile has none.
        match found {
            Err(CollectError::NoData { .. }) => {}
            found => {
                found?;
            }
        }
        for namespace in self.namespaces.iter_mut() {
            namespace.info.read(page);
            namespace.used.read(page);
            namespace.size.read(page);
            namespace.block.read(page);
        }
        Ok(())
    }
}

/// `12` of `nvme0n12`.
fn namespace_number(name: &[u8]) -> Option<&[u8]> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = name.strip_prefix(b"nvme")?;
    let (controller, rest) = rest.split_at(digits(rest));
    let rest = rest.strip_prefix(b"n")?;
    let number = &rest[..digits(rest)];
    (!controller.is_empty() && !number.is_empty()).then_some(number)
}

impl Nvme {
    pub fn new(roots: &Roots) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_nvme_{name}"), help);
        Self {
            controllers: Devices::new(roots.sysfs.join("class/nvme")),
            families: Families {
                info: gauge("info", "Non-numeric data from /sys/class/nvme/<device>, value is always 1."),
                namespace_info: gauge("namespace_info", "Information about NVMe namespaces. Value is always 1"),
                capacity: gauge(
                    "namespace_capacity_bytes",
                    "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
                ),
                size: gauge(
                    "namespace_size_bytes",
                    "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
                ),
                used: gauge(
                    "namespace_used_bytes",
                    "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
                ),
                block: gauge(
                    "namespace_logical_block_size_bytes",
                    "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
                ),
            },
            page: Page::default(),
        }
    }

    fn write(&self, scrape: &mut Scrape<'_>) {
        let Families { info, namespace_info, capacity, size, used, block } = &self.families;
        let mut samples = scrape.out.family(info);
        self.controllers.iter().for_each(|controller| samples.with(controller.texts.labels(), true));
        let namespaces = || self.controllers.iter().flat_map(|controller| controller.namespaces.iter());
        let mut samples = scrape.out.family(namespace_info);
        namespaces().for_each(|namespace| samples.with(&namespace.info.labels, true));
        let values: [(&Family, ValueOf); 4] = [
            (capacity, |one| one.bytes(&one.size)),
            (size, |one| one.bytes(&one.size)),
            (used, |one| one.bytes(&one.used)),
            (block, |one| one.block.value),
        ];
        for (family, value) in values {
            let mut samples = scrape.out.family(family);
            for namespace in namespaces() {
                if let Some(value) = value(namespace) {
                    samples.with(&namespace.labels, value);
                }
            }
        }
    }
}

impl Collector for Nvme {
    fn name(&self) -> &'static str {
        "nvme"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.controllers.refresh(|_| true, Controller::new)?;
        self.controllers.iter_mut().try_for_each(|controller| controller.read(&mut self.page))?;
        self.write(scrape);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::namespace_number;

    #[test]
    fn namespaces_are_told_from_paths_to_them_and_from_other_files() {
        assert_eq!(namespace_number(b"nvme10n12"), Some(&b"12"[..]));
        for name in ["nvme0c0n1", "nvme0", "nvmen1", "nvme0n", "ng0n1", "hwmon1"] {
            assert_eq!(namespace_number(name.as_bytes()), None, "{name}");
        }
    }
}

use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Partitions, and what is no disk.
const EXCLUDED: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

/// Options of the collector `diskstats`.
#[derive(Clone, Debug, PartialEq)]
pub struct Diskstats {
    /// Which block devices are taken.
    pub devices: Filter,
}

impl Default for Diskstats {
    fn default() -> Self {
        Self { devices: Filter::excluding(EXCLUDED) }
    }
}

impl Diskstats {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.devices.read(section, "device_include", "device_exclude");
    }
}

#[cfg(test)]
mod tests {
    use super::Diskstats;

    #[test]
    fn partitions_and_what_is_no_disk_are_left_out() {
        let devices = Diskstats::default().devices;
        for name in ["sda1", "vda12", "xvda1", "hdb2", "nvme0n1p1", "nvme10n2p15", "loop0", "ram15", "zram0", "fd0"] {
            assert!(!devices.admits(name.as_bytes()), "{name}");
        }
        for name in ["sda", "vda", "xvda", "nvme0n1", "nvme0c0n1", "dm-0", "md127", "sr0", "mmcblk0p1", "sdaa1", "loop"]
        {
            assert!(devices.admits(name.as_bytes()), "{name}");
        }
    }
}

use super::folder::Folder;
use super::{CollectError, KernelFile, number, words};
use std::path::PathBuf;

/// Levels that can lose a disk.
const REDUNDANT: [&[u8]; 5] = [b"raid1", b"raid4", b"raid5", b"raid6", b"raid10"];

/// `/sys/block/md*/md`.
pub struct Mdraids(Folder<Files>);

struct Files {
    level: KernelFile,
    disks: KernelFile,
    degraded: KernelFile,
}

/// What sysfs says of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raid {
    /// None for a container of arrays.
    pub disks: Option<u64>,
    pub degraded: u64,
}

impl Mdraids {
    pub fn new(folder: PathBuf) -> Self {
        Self(Folder::new(folder))
    }

    /// Gives each array with its name. One that is not understood costs no other.
    pub fn read(&mut self, mut give: impl FnMut(&[u8], Raid)) -> Result<(), CollectError> {
        let found = self.0.refresh(|name, path| {
            let file = |file: &str| KernelFile::new(path.join("md").join(file));
            let is_raid = name.starts_with(b"md") && path.join("md").is_dir();
            is_raid.then(|| Files { level: file("level"), disks: file("raid_disks"), degraded: file("degraded") })
        });
        if let Err(error @ CollectError::Read { .. }) = found {
            return Err(error);
        }
        let mut read = Ok(());
        for (name, files) in self.0.iter_mut() {
            match files.read() {
                Ok(raid) => give(name, raid),
                // It was stopped meanwhile.
                Err(CollectError::NoData { .. }) => {}
                Err(error) => read = read.and(Err(error)),
            }
        }
        read
    }
}

impl Files {
    fn read(&mut self) -> Result<Raid, CollectError> {
        // During a reshape the count before it follows in parentheses. What is no number is none, as in the original.
        let disks = words(self.disks.read()?.bytes).next().and_then(number);
        let level = self.level.read()?;
        let degraded =
            if REDUNDANT.contains(&level.bytes.trim_ascii()) { first_number(&mut self.degraded)? } else { None };
        Ok(Raid { disks, degraded: degraded.unwrap_or_default() })
    }
}

fn first_number(file: &mut KernelFile) -> Result<Option<u64>, CollectError> {
    let text = file.read()?;
    let first = words(text.bytes).next();
    first.map(|word| number(word).ok_or_else(|| text.malformed("a number of disks", text.bytes))).transpose()
}

#[cfg(test)]
mod tests {
    use super::{Mdraids, Raid};
    use crate::sample::testing::tree;

    fn raids(mdraids: &mut Mdraids) -> Vec<(String, Raid)> {
        let mut raids = Vec::new();
        let read = mdraids.read(|name, raid| raids.push((String::from_utf8_lossy(name).into_owned(), raid)));
        read.expect("read");
        raids
    }

    #[test]
    fn only_levels_with_redundancy_can_be_degraded_and_arrays_come_and_go() {
        let (_folder, roots) = tree(&[
            ("sys/block/md0/md/level", "raid5\n"),
            ("sys/block/md0/md/raid_disks", "4 (3)\n"),
            ("sys/block/md0/md/degraded", "1\n"),
            ("sys/block/md1/md/level", "raid0\n"),
            ("sys/block/md1/md/raid_disks", "2\n"),
            ("sys/block/md127/md/level", "container\n"),
            ("sys/block/md127/md/raid_disks", ""),
            ("sys/block/md_nothing/size", "0\n"),
            ("sys/block/sda/size", "0\n"),
        ]);
        let mut mdraids = Mdraids::new(roots.sysfs.join("block"));
        let want = [
            ("md0".to_owned(), Raid { disks: Some(4), degraded: 1 }),
            ("md1".to_owned(), Raid { disks: Some(2), degraded: 0 }),
            ("md127".to_owned(), Raid { disks: None, degraded: 0 }),
        ];
        assert_eq!(raids(&mut mdraids), want);
        assert_eq!(raids(&mut mdraids), want);
        std::fs::remove_dir_all(roots.sysfs.join("block/md0")).expect("removed");
        assert_eq!(raids(&mut mdraids), want[1..]);
    }

    #[test]
    fn an_array_that_is_not_understood_is_told_of_and_costs_no_other() {
        let of = |array: &str, disks: &'static str, degraded: &'static str| {
            let file = |name: &str| format!("sys/block/{array}/md/{name}");
            [(file("level"), "raid1\n"), (file("raid_disks"), disks), (file("degraded"), degraded)]
        };
        let files = [of("md0", "2\n", "x\n"), of("md1", "x\n", "1\n"), of("md2", "3\n", "0\n")].concat();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_folder, roots) = tree(&files);
        let mut told = Vec::new();
        let read = Mdraids::new(roots.sysfs.join("block")).read(|_, raid| told.push(raid));
        assert!(read.is_err_and(|error| error.to_string().contains("md0/md/degraded")));
        assert_eq!(told, [Raid { disks: None, degraded: 1 }, Raid { disks: Some(3), degraded: 0 }]);
    }
}

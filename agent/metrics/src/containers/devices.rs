use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// Names of block devices by their numbers: `8:0` is `/dev/sda`.
#[derive(Debug)]
pub struct Devices {
    folder: PathBuf,
    names: HashMap<Vec<u8>, String>,
}

/// Beyond so many, what was found before is looked up again.
const MOST: usize = 10_000;

impl Devices {
    /// By the links in this sysfs.
    pub fn new(sysfs: &std::path::Path) -> Self {
        Self { folder: sysfs.join("dev/block"), names: HashMap::new() }
    }

    /// A device's name; its number where it has none.
    pub fn name(&mut self, number: &[u8]) -> String {
        if self.names.len() >= MOST {
            self.names.clear();
        }
        let folder = &self.folder;
        let find = || {
            let number = String::from_utf8_lossy(number);
            let text = fs::read_to_string(folder.join(&*number).join("uevent")).unwrap_or_default();
            let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="));
            name.map_or_else(|| number.into_owned(), |name| format!("/dev/{name}"))
        };
        self.names.entry(number.to_owned()).or_insert_with(find).clone()
    }
}

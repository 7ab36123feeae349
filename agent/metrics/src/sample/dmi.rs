use super::sysfs::{Attribute, Page, list};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Labels in their order, which are files too; `system_vendor` is `sys_vendor` there.
const LABELS: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
];

/// What the firmware says of the machine. It stays until the next boot, so it is read once.
pub struct Dmi {
    folder: PathBuf,
    info: Family,
    labels: Option<Labels>,
}

impl Dmi {
    pub fn new(roots: &Roots) -> Self {
        let help = format!("A metric with a constant '1' value labeled by {} if provided by DMI.", LABELS.join(", "));
        Self { folder: roots.sysfs.join("class/dmi/id"), info: Family::gauge("node_dmi_info", &help), labels: None }
    }

    fn read(&self) -> Result<Labels, CollectError> {
        let entries = list(&self.folder).map_err(|source| CollectError::reading(&self.folder, source))?;
        let (mut page, mut found) = (Page::default(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.is_file()) {
            let label = if entry.name == b"sys_vendor" { &b"system_vendor"[..] } else { &entry.name };
            let Some(label) = LABELS.iter().find(|known| known.as_bytes() == label) else { continue };
            let mut file = Attribute::new(self.folder.join(OsStr::from_bytes(&entry.name)));
            match file.read(&mut page) {
                Ok(text) => found.push((*label, text.to_vec())),
                // Serial numbers are root's.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(source) => return Err(CollectError::reading(file.path(), source)),
            }
        }
        if found.is_empty() {
            return Err(CollectError::NoData { path: self.folder.clone() });
        }
        found.sort();
        Ok(Labels::new(&found.iter().map(|(label, text)| (*label, &text[..])).collect::<Vec<_>>()))
    }
}

impl Collector for Dmi {
    fn name(&self) -> &'static str {
        "dmi"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let labels = match self.labels.take() {
            Some(labels) => labels,
            None => self.read()?,
        };
        scrape.out.family(&self.info).with(self.labels.insert(labels), true);
        Ok(())
    }
}

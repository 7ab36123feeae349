use crate::encode::{Family, Labels};
use crate::sample::Scrape;
use crate::sample::sysfs::{Attribute, Page, list};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which CPUs work, where the first one can be switched off too: as in the original, else nothing is told.
pub struct Online {
    family: Family,
    cpus: Vec<(Labels, Attribute)>,
}

impl Online {
    /// Those of the CPUs that are there now.
    pub fn find(folder: &Path) -> Self {
        let entries = list(folder).unwrap_or_default().into_iter().filter(|entry| entry.is_numbered("cpu"));
        let cpus = entries.map(|entry| {
            let number = entry.name.strip_prefix(b"cpu").unwrap_or_default();
            let file = folder.join(OsStr::from_bytes(&entry.name)).join("online");
            (Labels::new(&[("cpu", number)]), Attribute::new(file))
        });
        let mut cpus: Vec<_> = cpus.collect();
        if cpus.first().is_none_or(|(_, file)| !file.path().exists()) {
            cpus.clear();
        }
        Self { family: Family::gauge("node_cpu_online", "CPUs that are online and being scheduled."), cpus }
    }

    /// One that does not say so does not work.
    pub fn collect(&mut self, scrape: &mut Scrape<'_>, page: &mut Page) {
        let mut samples = scrape.out.family(&self.family);
        for (labels, file) in &mut self.cpus {
            samples.with(labels, file.read(page).is_ok_and(|text| text == b"1"));
        }
    }
}

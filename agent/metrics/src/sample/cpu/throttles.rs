use crate::encode::{Family, Labels};
use crate::sample::sysfs::{Attribute, Page, list};
use crate::sample::{Scrape, number};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Files that count throttling; virtual machines mostly have none.
pub struct Throttles {
    core: Family,
    package: Family,
    cores: Vec<(Labels, Attribute)>,
    packages: Vec<(Labels, Attribute)>,
}

impl Throttles {
    /// Those of the CPUs that are there now.
    pub fn find(cpus: &Path) -> Self {
        let mut found = Self {
            core: Family::counter("node_cpu_core_throttles_total", "Number of times this CPU core has been throttled."),
            package: Family::counter(
                "node_cpu_package_throttles_total",
                "Number of times this CPU package has been throttled.",
            ),
            cores: Vec::new(),
            packages: Vec::new(),
        };
        let (mut seen_cores, mut seen_packages) = (BTreeSet::new(), BTreeSet::new());
        let mut page = Page::default();
        for entry in list(cpus).unwrap_or_default().iter().filter(|entry| entry.is_numbered("cpu")) {
            let folder = cpus.join(OsStr::from_bytes(&entry.name));
            let mut count = |name: &str| {
                let mut file = Attribute::new(folder.join(name));
                let count = file.read(&mut page).ok().and_then(number)?;
                Some((count, file))
            };
            let (package, core) = (count("topology/physical_package_id"), count("topology/core_id"));
            let Some(((package, _), (core, _))) = package.zip(core) else { continue };
            let (package_text, core_text) = (package.to_string(), core.to_string());
            let labels = [("core", core_text.as_bytes()), ("package", package_text.as_bytes())];
            // Threads of a core, and cores of a package, all have the count of the whole.
            if let Some((_, file)) = count("thermal_throttle/core_throttle_count")
                && seen_cores.insert((package, core))
            {
                found.cores.push((Labels::new(&labels), file));
            }
            if let Some((_, file)) = count("thermal_throttle/package_throttle_count")
                && seen_packages.insert(package)
            {
                found.packages.push((Labels::new(&labels[1..]), file));
            }
        }
        found
    }

    /// A count that cannot be read is of a CPU that just went away.
    pub fn collect(&mut self, scrape: &mut Scrape<'_>, page: &mut Page) {
        for (family, files) in [(&self.core, &mut self.cores), (&self.package, &mut self.packages)] {
            let mut samples = scrape.out.family(family);
            for (labels, file) in files {
                if let Some(count) = file.read(page).ok().and_then(number) {
                    samples.with(labels, count);
                }
            }
        }
    }
}

use super::{CollectError, Collector, KernelFile, Roots, Scrape, number};
use crate::encode::Family;

const MILLISECONDS: f64 = 1e3;
/// The files, and what the original makes of their names.
const FILES: [(&str, &str); 9] = [
    ("full_scans", "full_scans_total"),
    ("merge_across_nodes", "merge_across_nodes"),
    ("pages_shared", "pages_shared"),
    ("pages_sharing", "pages_sharing"),
    ("pages_to_scan", "pages_to_scan"),
    ("pages_unshared", "pages_unshared"),
    ("pages_volatile", "pages_volatile"),
    ("run", "run"),
    ("sleep_millisecs", "sleep_seconds"),
];

/// `/sys/kernel/mm/ksm`: pages of memory that are merged since they are the same.
pub struct Ksmd {
    files: [(KernelFile, Family, &'static str); FILES.len()],
}

impl Ksmd {
    pub fn new(roots: &Roots) -> Self {
        let folder = roots.sysfs.join("kernel/mm/ksm");
        let file = |(file, name): (&'static str, &str)| {
            let (name, help) = (format!("node_ksmd_{name}"), format!("ksmd '{file}' file."));
            let family = match file {
                "full_scans" => Family::counter(&name, &help),
                _ => Family::gauge(&name, &help),
            };
            (KernelFile::new(folder.join(file)), family, file)
        };
        Self { files: FILES.map(file) }
    }
}

impl Collector for Ksmd {
    fn name(&self) -> &'static str {
        "ksmd"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        // All are there, or the kernel has none of it.
        self.files[0].0.read()?;
        for (file, family, name) in &mut self.files {
            let value = match file.read() {
                Ok(text) => number(text.bytes.trim_ascii()).ok_or_else(|| text.malformed("a number", text.bytes)),
                Err(error) => Err(error),
            };
            let value = match value {
                Ok(value) => value,
                Err(error) => {
                    scrape.failed = Some(error);
                    continue;
                }
            };
            let mut samples = scrape.out.family(family);
            match *name {
                "sleep_millisecs" => samples.put(value as f64 / MILLISECONDS),
                _ => samples.put(value),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FILES, Ksmd};
    use crate::sample::testing::{collect, samples, tree};

    #[test]
    fn every_file_is_taken_and_milliseconds_are_told_as_seconds() {
        let paths = FILES.map(|(name, _)| format!("sys/kernel/mm/ksm/{name}"));
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), "20\n")).collect();
        let (_folder, roots) = tree(&files);
        let mut ksmd = Ksmd::new(&roots);
        let lines = samples(&mut ksmd, &roots);
        assert_eq!((lines.len(), lines[0].as_str()), (9, "node_ksmd_full_scans_total 20"));
        assert_eq!(lines[8], "node_ksmd_sleep_seconds 0.02");
        std::fs::write(roots.sysfs.join("kernel/mm/ksm/run"), "x\n").expect("written");
        assert_eq!(samples(&mut ksmd, &roots).len(), 8, "one costs no other");
        std::fs::remove_dir_all(roots.sysfs.join("kernel/mm/ksm")).expect("removed");
        assert!(collect(&mut Ksmd::new(&roots), &roots).is_err());
    }
}

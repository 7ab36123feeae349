use super::kernel_file::float;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, words};
use crate::encode::Family;

/// `/proc/loadavg`.
pub struct Loadavg {
    file: KernelFile,
    families: [Family; 3],
}

impl Loadavg {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("loadavg")),
            families: [
                Family::gauge("node_load1", "1m load average."),
                Family::gauge("node_load5", "5m load average."),
                Family::gauge("node_load15", "15m load average."),
            ],
        }
    }
}

impl Collector for Loadavg {
    fn name(&self) -> &'static str {
        "loadavg"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let mut loads = words(text.bytes).map_while(float);
        for family in &self.families {
            let load = loads.next().ok_or_else(|| text.malformed("three numbers", text.bytes))?;
            scrape.out.family(family).put(load);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Loadavg;
    use crate::sample::testing::{captured, samples};

    #[test]
    fn three_averages_are_taken() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Loadavg::new(&roots), &roots);
        assert_eq!(lines, ["node_load1 0.09", "node_load5 0.41", "node_load15 0.42"]);
    }
}

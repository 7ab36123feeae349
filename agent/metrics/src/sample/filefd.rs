use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

/// `/proc/sys/fs/file-nr`: allocated, (always 0), maximum.
pub struct Filefd {
    file: KernelFile,
    allocated: Family,
    maximum: Family,
}

impl Filefd {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("sys/fs/file-nr")),
            allocated: Family::gauge("node_filefd_allocated", "File descriptor statistics: allocated."),
            maximum: Family::gauge("node_filefd_maximum", "File descriptor statistics: maximum."),
        }
    }
}

impl Collector for Filefd {
    fn name(&self) -> &'static str {
        "filefd"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let mut numbers = words(text.bytes).map(number);
        let (Some(Some(allocated)), _, Some(Some(maximum))) = (numbers.next(), numbers.next(), numbers.next()) else {
            return Err(text.malformed("three numbers", text.bytes));
        };
        scrape.out.family(&self.allocated).put(allocated);
        scrape.out.family(&self.maximum).put(maximum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Filefd;
    use crate::sample::testing::{captured, samples};

    #[test]
    fn allocated_and_maximum_are_taken() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Filefd::new(&roots), &roots);
        assert_eq!(lines, ["node_filefd_allocated 636", "node_filefd_maximum 2466183"]);
    }
}

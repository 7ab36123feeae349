use super::{CollectError, Collector, KernelFile, Roots, Scrape, number};
use crate::encode::Family;

/// `/proc/sys/kernel/random`.
pub struct Entropy {
    files: [(KernelFile, Family); 2],
}

impl Entropy {
    pub fn new(roots: &Roots) -> Self {
        let file = |name| KernelFile::new(roots.procfs.join("sys/kernel/random").join(name));
        Self {
            files: [
                (file("entropy_avail"), Family::gauge("node_entropy_available_bits", "Bits of available entropy.")),
                (file("poolsize"), Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.")),
            ],
        }
    }
}

impl Collector for Entropy {
    fn name(&self) -> &'static str {
        "entropy"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        for (file, family) in &mut self.files {
            let bits = file
                .read()
                .and_then(|text| number(text.bytes.trim_ascii()).ok_or_else(|| text.malformed("a number", text.bytes)));
            match bits {
                Ok(bits) => scrape.out.family(family).put(bits),
                Err(error) => {
                    scrape.failed.get_or_insert(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Entropy;
    use crate::sample::testing::{captured, samples, tree};

    #[test]
    fn one_is_told_without_the_other() {
        let (_folder, roots) = tree(&[("proc/sys/kernel/random/entropy_avail", "7\n")]);
        assert_eq!(samples(&mut Entropy::new(&roots), &roots), ["node_entropy_available_bits 7"]);
    }

    #[test]
    fn available_bits_and_the_pools_size_are_taken() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Entropy::new(&roots), &roots);
        assert_eq!(lines, ["node_entropy_available_bits 256", "node_entropy_pool_size_bits 256"]);
    }
}

use super::{CollectError, Collector, KernelFile, Roots, Scrape, number};
use crate::encode::Family;

/// `/proc/sys/kernel/hung_task_detect_count`, of kernels from 6.17 on.
pub struct KernelHung {
    file: KernelFile,
    tasks: Family,
}

impl KernelHung {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("sys/kernel/hung_task_detect_count")),
            tasks: Family::counter(
                "node_kernel_hung_tasks_total",
                "Total number of tasks that have been detected as hung since the system booted.",
            ),
        }
    }
}

impl Collector for KernelHung {
    fn name(&self) -> &'static str {
        "kernel_hung"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let count = number(text.bytes.trim_ascii()).ok_or_else(|| text.malformed("a number", text.bytes))?;
        scrape.out.family(&self.tasks).put(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::KernelHung;
    use crate::sample::testing::{collect, tree};

    #[test]
    fn hung_tasks_are_counted_where_the_kernel_counts_them() {
        let (_folder, roots) = tree(&[("proc/sys/kernel/hung_task_detect_count", "3\n")]);
        let text = collect(&mut KernelHung::new(&roots), &roots).expect("collected");
        assert!(
            text.ends_with("# TYPE node_kernel_hung_tasks_total counter\nnode_kernel_hung_tasks_total 3\n"),
            "{text}"
        );
        let (_folder, roots) = tree(&[("proc/sys/kernel/hung_task_detect_count", "many\n")]);
        assert!(collect(&mut KernelHung::new(&roots), &roots).is_err());
    }
}

use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

const KIB: u64 = 1024;

/// `/proc/swaps`: devices and files that memory is written out to.
pub struct Swap {
    file: KernelFile,
    size: Family,
    used: Family,
    priority: Family,
    rows: Rows<Device>,
}

#[derive(Default)]
struct Device {
    size: u64,
    used: u64,
    priority: i64,
}

impl Swap {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("swaps")),
            size: Family::gauge("node_swap_size_bytes", "Swap device size in bytes."),
            used: Family::gauge("node_swap_used_bytes", "Swap device used in bytes."),
            priority: Family::gauge("node_swap_priority", "Swap device priority."),
            rows: Rows::default(),
        }
    }
}

/// `/dev/vdb  partition  131068  176  -2` → the labels' words and the numbers.
fn parse(line: &[u8]) -> Option<(&[u8], &[u8], Device)> {
    let mut words = words(line);
    let (device, kind) = (words.next()?, words.next()?);
    let mut bytes = || Some(number(words.next()?)?.saturating_mul(KIB));
    let (size, used) = (bytes()?, bytes()?);
    let priority = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some((device, kind, Device { size, used, priority }))
}

impl Collector for Swap {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        for line in text.lines().skip(1) {
            let (device, kind, values) = parse(line).ok_or_else(|| text.malformed("a swap device", line))?;
            *self.rows.row_with(device, |labels| labels.set(&[("device", device), ("swap_type", kind)])) = values;
        }
        let mut samples = scrape.out.family(&self.size);
        self.rows.iter().for_each(|row| samples.with(&row.labels, row.values.size));
        let mut samples = scrape.out.family(&self.used);
        self.rows.iter().for_each(|row| samples.with(&row.labels, row.values.used));
        let mut samples = scrape.out.family(&self.priority);
        self.rows.iter().for_each(|row| samples.with(&row.labels, row.values.priority));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Swap;
    use crate::sample::testing::{collect, samples, tree};

    #[test]
    fn devices_are_told_in_bytes_with_their_priority() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n/dev/vdb   partition\t131068\t176\t-2\n";
        let (_folder, roots) = tree(&[("proc/swaps", text)]);
        let mut swap = Swap::new(&roots);
        let want = [
            r#"node_swap_size_bytes{device="/dev/vdb",swap_type="partition"} 134213632"#,
            r#"node_swap_used_bytes{device="/dev/vdb",swap_type="partition"} 180224"#,
            r#"node_swap_priority{device="/dev/vdb",swap_type="partition"} -2"#,
        ];
        assert_eq!(samples(&mut swap, &roots), want);
        std::fs::write(roots.procfs.join("swaps"), "Filename\n/dev/vdb partition 1\n").expect("written");
        assert!(collect(&mut swap, &roots).is_err());
    }
}

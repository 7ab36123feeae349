use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::interrupts as options;

/// `/proc/interrupts`: how often each CPU served each interrupt.
pub struct Interrupts {
    options: options::Interrupts,
    file: KernelFile,
    family: Family,
    rows: Rows<Interrupt>,
    /// A line without its numbers, which is what its labels are made of.
    key: Vec<u8>,
}

#[derive(Default)]
struct Interrupt {
    /// For each CPU.
    counts: Vec<(Labels, u64)>,
    is_left_out: bool,
}

impl Interrupts {
    pub fn new(roots: &Roots, options: &options::Interrupts) -> Self {
        Self {
            options: options.clone(),
            file: KernelFile::new(roots.procfs.join("interrupts")),
            family: Family::counter("node_interrupts_total", "Interrupt details."),
            rows: Rows::default(),
            key: Vec::new(),
        }
    }
}

/// Name, numbers, and what follows those of all CPUs; none for lines without that, such as `ERR`.
fn parse(line: &[u8], cpus: usize) -> Option<(&[u8], &[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, rest) = (line[..colon].trim_ascii_start(), &line[colon + 1..]);
    let details = words(rest).nth(cpus)?;
    let at = details.as_ptr().addr() - rest.as_ptr().addr();
    Some((name, &rest[..at], &rest[at..]))
}

impl Interrupt {
    /// Where another interrupt stood before: renders its labels.
    fn begin(&mut self, name: &[u8], details: &[u8], (options, cpus): (&options::Interrupts, usize)) {
        let words: Vec<&[u8]> = words(details).collect();
        // Numbered ones have their controller first.
        let of_info = if number(name).is_some() { 1 } else { words.len() };
        let (info, devices) = (words[..of_info].join(&b' '), words[of_info..].join(&b' '));
        self.is_left_out = !options.names.admits(&[name, &info[..], &devices[..]].join(&b';'));
        let labels = |cpu: usize| {
            let cpu = cpu.to_string();
            Labels::new(&[("cpu", cpu.as_bytes()), ("type", name), ("info", &info), ("devices", &devices)])
        };
        self.counts = (0..cpus).map(|cpu| (labels(cpu), 0)).collect();
    }
}

impl Collector for Interrupts {
    fn name(&self) -> &'static str {
        "interrupts"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let mut lines = text.lines();
        let cpus = words(lines.next().unwrap_or_default()).count();
        self.rows.begin();
        for line in lines {
            let Some((name, numbers, details)) = parse(line, cpus) else { continue };
            self.key.clear();
            [name, b":", details].iter().for_each(|part| self.key.extend_from_slice(part));
            let row = self.rows.row_with(&self.key, |labels| labels.set(&[("type", name)]));
            if row.counts.len() != cpus {
                row.begin(name, details, (&self.options, cpus));
            }
            for (slot, word) in row.counts.iter_mut().zip(words(numbers)) {
                slot.1 = number(word).ok_or_else(|| text.malformed("a number for each CPU", line))?;
            }
        }
        let mut samples = scrape.out.family(&self.family);
        for row in self.rows.iter().filter(|row| !row.values.is_left_out) {
            let taken = row.values.counts.iter().filter(|(_, count)| self.options.include_zeros || *count > 0);
            taken.for_each(|(labels, count)| samples.with(labels, *count));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Interrupts;
    use crate::sample::testing::{collect, samples, tree};
    use hostwright_core::config::metrics::collectors::interrupts as options;
    use hostwright_core::config::metrics::filter::Filter;

    const TABLE: &str = "           CPU0       CPU1       \n  1:         17          0  IR-IO-APIC   1-edge      i8042\n\
                         IPI0:2147483648        42       Rescheduling interrupts\nERR:          0\nMIS:  1  2\n";

    #[test]
    fn every_cpu_is_told_of_every_interrupt_that_has_details() {
        let (_folder, roots) = tree(&[("proc/interrupts", TABLE)]);
        let mut interrupts = Interrupts::new(&roots, &options::Interrupts::default());
        let want = [
            r#"node_interrupts_total{cpu="0",type="1",info="IR-IO-APIC",devices="1-edge i8042"} 17"#,
            r#"node_interrupts_total{cpu="1",type="1",info="IR-IO-APIC",devices="1-edge i8042"} 0"#,
            r#"node_interrupts_total{cpu="0",type="IPI0",info="Rescheduling interrupts",devices=""} 2147483648"#,
            r#"node_interrupts_total{cpu="1",type="IPI0",info="Rescheduling interrupts",devices=""} 42"#,
        ];
        assert_eq!(samples(&mut interrupts, &roots), want);
        assert_eq!(samples(&mut interrupts, &roots), want, "the second time, with what is kept");
        std::fs::write(roots.procfs.join("interrupts"), "CPU0\n1: x y\n").expect("written");
        assert!(collect(&mut interrupts, &roots).is_err());
    }

    #[test]
    fn interrupts_can_be_left_out_by_name_and_details_and_zeros_too() {
        let (_folder, roots) = tree(&[("proc/interrupts", TABLE)]);
        let only = |names, include_zeros| {
            let mut interrupts = Interrupts::new(&roots, &options::Interrupts { names, include_zeros });
            samples(&mut interrupts, &roots).len()
        };
        assert_eq!(only(Filter::excluding("^IPI0;Rescheduling interrupts;$"), true), 2);
        assert_eq!(only(Filter::including("i8042"), false), 1);
    }
}

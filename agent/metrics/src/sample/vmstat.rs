use super::kernel_file::{float, is_name};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Kind};
use hostwright_core::config::metrics::collectors::vmstat as options;
use hostwright_core::config::metrics::filter::Filter;

/// The fields of `/proc/vmstat` that node_exporter takes: paging, swapping, faults, kills.
pub struct Vmstat {
    file: KernelFile,
    taken: Filter,
    /// In the order of the file, those that are not taken without a family.
    fields: Vec<(Vec<u8>, Option<Family>)>,
}

impl Vmstat {
    pub fn new(roots: &Roots, options: &options::Vmstat) -> Self {
        let file = KernelFile::new(roots.procfs.join("vmstat"));
        Self { file, taken: options.fields.clone(), fields: Vec::new() }
    }
}

impl Collector for Vmstat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let taken = self.taken.once();
        let text = self.file.read()?;
        for (at, line) in text.lines().enumerate() {
            let end = memchr::memchr(b' ', line).unwrap_or(line.len());
            let key = &line[..end];
            if self.fields.get(at).is_none_or(|(field, _)| field != key) {
                self.fields.truncate(at);
                let is_taken = is_name(key) && taken.admits(key);
                self.fields.push((key.to_owned(), is_taken.then(|| family(key))));
            }
            let Some(family) = &self.fields[at].1 else { continue };
            let word = words(line).nth(1).unwrap_or_default();
            let mut sample = scrape.out.family(family);
            // As the original, which takes any number, and where there is none keeps what stands before it.
            match (number(word), float(word)) {
                (Some(value), _) => sample.put(value),
                (None, Some(value)) => sample.put(value),
                (None, None) => {
                    scrape.failed = Some(text.malformed("a field with a number", line));
                    break;
                }
            }
        }
        Ok(())
    }
}

fn family(key: &[u8]) -> Family {
    let key = String::from_utf8_lossy(key);
    Family::new(&format!("node_vmstat_{key}"), &format!("/proc/vmstat information field {key}."), Kind::Untyped)
}

#[cfg(test)]
mod tests {
    use super::Vmstat;
    use crate::sample::testing::{captured, fails, samples, tree};

    #[test]
    fn paging_swapping_faults_and_kills_are_taken_and_nothing_else() {
        let roots = captured("procfs-vm");
        let mut vmstat = Vmstat::new(&roots, &Default::default());
        let lines = samples(&mut vmstat, &roots);
        let names: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        let want = ["pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill"];
        assert_eq!(names, want.map(|field| format!("node_vmstat_{field}")));
        assert_eq!(samples(&mut vmstat, &roots), lines, "the second time, with what is kept");
    }

    #[test]
    fn a_field_without_a_number_ends_what_is_told() {
        let (_folder, roots) = tree(&[("proc/vmstat", "pgpgin 1 9\npswpin -1.5\nodd x\npgfault x\noom_kill 2\n")]);
        let mut vmstat = Vmstat::new(&roots, &Default::default());
        assert_eq!(samples(&mut vmstat, &roots), ["node_vmstat_pgpgin 1", "node_vmstat_pswpin -1.5"]);
        assert!(fails(&mut vmstat, &roots));
    }
}

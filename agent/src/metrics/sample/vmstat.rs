use super::{CollectError, Collector, KernelFile, Roots, Scrape, number};
use crate::metrics::encode::{Family, Kind};

/// The fields of `/proc/vmstat` that node_exporter takes: paging, swapping, faults, kills.
pub struct Vmstat {
    file: KernelFile,
    /// What is taken, in the order of the file.
    fields: Vec<(Vec<u8>, Family)>,
}

impl Vmstat {
    pub fn new(roots: &Roots) -> Self {
        Self { file: KernelFile::new(roots.procfs.join("vmstat")), fields: Vec::new() }
    }
}

/// `^(oom_kill|pgpg|pswp|pg.*fault).*`, the original's default.
fn is_taken(key: &[u8]) -> bool {
    let begins = |prefix: &[u8]| key.starts_with(prefix);
    begins(b"pgpg")
        || begins(b"pswp")
        || begins(b"oom_kill")
        || (begins(b"pg") && memchr::memmem::find(key, b"fault").is_some_and(|at| at >= 2))
}

impl Collector for Vmstat {
    fn name(&self) -> &'static str {
        "vmstat"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        let mut at = 0;
        for line in text.lines() {
            let end = memchr::memchr(b' ', line).unwrap_or(line.len());
            let key = &line[..end];
            if !is_taken(key) {
                continue;
            }
            let value = line.get(end + 1..).and_then(number);
            let value = value.ok_or_else(|| text.malformed("a field with a number", line))?;
            if self.fields.get(at).is_none_or(|(field, _)| field != key) {
                self.fields.truncate(at);
                self.fields.push((key.to_owned(), family(key)));
            }
            scrape.out.family(&self.fields[at].1).put(value);
            at += 1;
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
    use super::{Vmstat, is_taken};
    use crate::metrics::sample::testing::{captured, samples};

    #[test]
    fn paging_swapping_faults_and_kills_are_taken_and_nothing_else() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Vmstat::new(&roots), &roots);
        let names: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        let want = ["pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill"];
        assert_eq!(names, want.map(|field| format!("node_vmstat_{field}")));
        assert!(is_taken(b"pgxfaulty") && is_taken(b"oom_kills") && !is_taken(b"pgfree") && !is_taken(b"xpgfault"));
    }
}

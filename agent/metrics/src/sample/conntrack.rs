use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

/// Connection tracking: how full its table is, and what it did.
pub struct Conntrack {
    count: KernelFile,
    limit: KernelFile,
    stat: KernelFile,
    entries: Family,
    entries_limit: Family,
    /// By the name of the column.
    stats: [(&'static [u8], Family); 8],
}

impl Conntrack {
    pub fn new(roots: &Roots) -> Self {
        let file = |path| KernelFile::new(roots.procfs.join(path));
        let stat = |name: &'static str, help: &str| {
            (name.as_bytes(), Family::gauge(&format!("node_nf_conntrack_stat_{name}"), help))
        };
        Self {
            count: file("sys/net/netfilter/nf_conntrack_count"),
            limit: file("sys/net/netfilter/nf_conntrack_max"),
            stat: file("net/stat/nf_conntrack"),
            entries: Family::gauge(
                "node_nf_conntrack_entries",
                "Number of currently allocated flow entries for connection tracking.",
            ),
            entries_limit: Family::gauge(
                "node_nf_conntrack_entries_limit",
                "Maximum size of connection tracking table.",
            ),
            stats: [
                stat("found", "Number of searched entries which were successful."),
                stat("invalid", "Number of packets seen which can not be tracked."),
                stat("ignore", "Number of packets seen which are already connected to a conntrack entry."),
                stat("insert", "Number of entries inserted into the list."),
                stat("insert_failed", "Number of entries for which list insertion was attempted but failed."),
                stat("drop", "Number of packets dropped due to conntrack failure."),
                stat(
                    "early_drop",
                    "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
                ),
                stat(
                    "search_restart",
                    "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
                ),
            ],
        }
    }
}

impl Conntrack {
    fn sums(&mut self) -> Result<[u64; 8], CollectError> {
        let text = self.stat.read()?;
        let mut lines = text.lines();
        let names = lines.next().unwrap_or_default();
        // A line for each CPU, in hexadecimal.
        let mut sums = [0_u64; 8];
        for line in lines {
            for (name, word) in words(names).zip(words(line)) {
                let Some(at) = self.stats.iter().position(|(known, _)| *known == name) else { continue };
                let word = std::str::from_utf8(word).ok().and_then(|word| u64::from_str_radix(word, 16).ok());
                let value = word.ok_or_else(|| text.malformed("hexadecimal numbers", line))?;
                sums[at] = sums[at].wrapping_add(value);
            }
        }
        Ok(sums)
    }
}

impl Collector for Conntrack {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        for (file, family) in [(&mut self.count, &self.entries), (&mut self.limit, &self.entries_limit)] {
            let text = file.read()?;
            match number(text.bytes.trim_ascii()) {
                Some(value) => scrape.out.family(family).put(value),
                None => scrape.failed = Some(text.malformed("a number", text.bytes)),
            }
        }
        match self.sums() {
            Ok(sums) => self.stats.iter().zip(sums).for_each(|((_, family), sum)| scrape.out.family(family).put(sum)),
            // Kernels can be built without statistics.
            Err(error) => scrape.failed = Some(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Conntrack;
    use crate::sample::testing::{assert_has, captured, samples, tree};

    #[test]
    fn the_table_and_the_sums_of_all_cpus_are_taken() {
        let roots = captured("procfs-vm");
        let lines = samples(&mut Conntrack::new(&roots), &roots);
        assert_has(
            &lines,
            &[
                "node_nf_conntrack_entries 47",
                "node_nf_conntrack_entries_limit 262144",
                "node_nf_conntrack_stat_insert_failed 17",
                "node_nf_conntrack_stat_search_restart 3",
            ],
        );
        assert_eq!(lines.len(), 10);
    }

    #[test]
    fn a_kernel_without_statistics_still_tells_how_full_the_table_is() {
        let folder = "proc/sys/net/netfilter/nf_conntrack";
        let (_folder, roots) = tree(&[(&format!("{folder}_count"), "5\n"), (&format!("{folder}_max"), "9\n")]);
        let want = ["node_nf_conntrack_entries 5", "node_nf_conntrack_entries_limit 9"];
        assert_eq!(samples(&mut Conntrack::new(&roots), &roots), want);
    }
}

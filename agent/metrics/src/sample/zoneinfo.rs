use super::rows::Rows;
use super::sysfs::integer;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Kind};

/// The kernel's word for a field, the name and explanation of its family.
type Field = (&'static str, &'static str, Kind, &'static str);
const FIELDS: [Field; 34] = [
    ("nr_free_pages", "nr_free_pages", Kind::Gauge, "Total number of free pages in the zone"),
    ("min", "min_pages", Kind::Gauge, "Zone watermark pages_min"),
    ("low", "low_pages", Kind::Gauge, "Zone watermark pages_low"),
    ("high", "high_pages", Kind::Gauge, "Zone watermark pages_high"),
    ("scanned", "scanned_pages", Kind::Gauge, "Pages scanned since last reclaim"),
    ("spanned", "spanned_pages", Kind::Gauge, "Total pages spanned by the zone, including holes"),
    ("present", "present_pages", Kind::Gauge, "Physical pages existing within the zone"),
    ("managed", "managed_pages", Kind::Gauge, "Present pages managed by the buddy system"),
    ("nr_active_anon", "nr_active_anon_pages", Kind::Gauge, "Number of anonymous pages recently more used"),
    ("nr_inactive_anon", "nr_inactive_anon_pages", Kind::Gauge, "Number of anonymous pages recently less used"),
    ("nr_isolated_anon", "nr_isolated_anon_pages", Kind::Gauge, "Temporary isolated pages from anon lru"),
    ("nr_anon_pages", "nr_anon_pages", Kind::Gauge, "Number of anonymous pages currently used by the system"),
    (
        "nr_anon_transparent_hugepages",
        "nr_anon_transparent_hugepages",
        Kind::Gauge,
        "Number of anonymous transparent huge pages currently used by the system",
    ),
    ("nr_active_file", "nr_active_file_pages", Kind::Gauge, "Number of active pages with file-backing"),
    ("nr_inactive_file", "nr_inactive_file_pages", Kind::Gauge, "Number of inactive pages with file-backing"),
    ("nr_isolated_file", "nr_isolated_file_pages", Kind::Gauge, "Temporary isolated pages from file lru"),
    ("nr_file_pages", "nr_file_pages", Kind::Gauge, "Number of file pages"),
    ("nr_slab_reclaimable", "nr_slab_reclaimable_pages", Kind::Gauge, "Number of reclaimable slab pages"),
    ("nr_slab_unreclaimable", "nr_slab_unreclaimable_pages", Kind::Gauge, "Number of unreclaimable slab pages"),
    ("nr_mlock_stack", "nr_mlock_stack_pages", Kind::Gauge, "mlock()ed pages found and moved off LRU"),
    ("nr_kernel_stack", "nr_kernel_stacks", Kind::Gauge, "Number of kernel stacks"),
    ("nr_mapped", "nr_mapped_pages", Kind::Gauge, "Number of mapped pages"),
    ("nr_dirty", "nr_dirty_pages", Kind::Gauge, "Number of dirty pages"),
    ("nr_writeback", "nr_writeback_pages", Kind::Gauge, "Number of writeback pages"),
    ("nr_unevictable", "nr_unevictable_pages", Kind::Gauge, "Number of unevictable pages"),
    ("nr_shmem", "nr_shmem_pages", Kind::Gauge, "Number of shmem pages (included tmpfs/GEM pages)"),
    ("nr_dirtied", "nr_dirtied_total", Kind::Counter, "Page dirtyings since bootup"),
    ("nr_written", "nr_written_total", Kind::Counter, "Page writings since bootup"),
    ("numa_hit", "numa_hit_total", Kind::Counter, "Allocated in intended node"),
    ("numa_miss", "numa_miss_total", Kind::Counter, "Allocated in non intended node"),
    ("numa_foreign", "numa_foreign_total", Kind::Counter, "Was intended here, hit elsewhere"),
    ("numa_interleave", "numa_interleave_total", Kind::Counter, "Interleaver preferred this zone"),
    ("numa_local", "numa_local_total", Kind::Counter, "Allocation from local node"),
    ("numa_other", "numa_other_total", Kind::Counter, "Allocation from other node"),
];

/// `/proc/zoneinfo`: pages of memory by zone.
pub struct Zoneinfo {
    file: KernelFile,
    families: [Family; FIELDS.len()],
    /// For each place in a zone's array, as many as were ever seen.
    protection: Vec<Family>,
    rows: Rows<Zone>,
}

struct Zone {
    fields: [Option<i64>; FIELDS.len()],
    protection: Vec<u64>,
}

impl Default for Zone {
    fn default() -> Self {
        Self { fields: [None; FIELDS.len()], protection: Vec::new() }
    }
}

impl Zoneinfo {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("zoneinfo")),
            families: FIELDS.map(|(_, name, kind, help)| Family::new(&format!("node_zoneinfo_{name}"), help, kind)),
            protection: Vec::new(),
            rows: Rows::default(),
        }
    }
}

/// `Node 0, zone   Normal` → node and zone.
fn place(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = words(line.strip_prefix(b"Node ")?);
    let node = words.next()?.strip_suffix(b",")?;
    Some((node, words.nth(1)?))
}

impl Zone {
    fn take(&mut self, line: &[u8]) {
        let mut words = words(line);
        let (Some(name), Some(value)) = (words.next(), words.next()) else { return };
        if name == b"protection:" {
            let values = line.split(|byte| !byte.is_ascii_digit()).filter(|word| !word.is_empty());
            self.protection.extend(values.filter_map(number));
        } else if let Some(at) = FIELDS.iter().position(|(known, ..)| known.as_bytes() == name) {
            // What is no number, or too large for one, is 0 in the original.
            self.fields[at] = Some(integer(value).unwrap_or_default());
        }
    }
}

impl Collector for Zoneinfo {
    fn name(&self) -> &'static str {
        "zoneinfo"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        let mut zone: Option<&mut Zone> = None;
        for line in text.lines() {
            if let Some((node, name)) = place(line) {
                let next = self.rows.row_with(line, |labels| labels.set(&[("node", node), ("zone", name)]));
                next.fields = [None; FIELDS.len()];
                next.protection.clear();
                zone = Some(next);
            } else if let Some(zone) = &mut zone {
                zone.take(line);
            }
        }
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            for row in self.rows.iter() {
                if let Some(value) = row.values.fields[at] {
                    samples.with(&row.labels, value);
                }
            }
        }
        let most = self.rows.iter().map(|row| row.values.protection.len()).max().unwrap_or_default();
        for at in self.protection.len()..most {
            let (name, help) = (format!("node_zoneinfo_protection_{at}"), format!("Protection array {at}. field"));
            self.protection.push(Family::gauge(&name, &help));
        }
        for (at, family) in self.protection.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            for row in self.rows.iter() {
                if let Some(value) = row.values.protection.get(at) {
                    samples.with(&row.labels, *value);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Zoneinfo;
    use crate::sample::testing::{samples, tree};

    #[test]
    fn zones_are_told_with_the_fields_that_they_have() {
        let text = "Node 0, zone      DMA\n  per-node stats\n      nr_dirtied   7\n  pages free     3840\n        min      10\n\
                    \x20       protection: (0, 2943)\n      nr_free_pages 3840\n  pagesets\n    cpu: 0\n       high:  5\n\
                    Node 0, zone   Normal\n  pages free 1\n        min      -11\n        spanned  18446744073709551615\n        protection: (0, 0)\n";
        let (_folder, roots) = tree(&[("proc/zoneinfo", text)]);
        let mut zoneinfo = Zoneinfo::new(&roots);
        let want = [
            r#"node_zoneinfo_nr_free_pages{node="0",zone="DMA"} 3840"#,
            r#"node_zoneinfo_min_pages{node="0",zone="DMA"} 10"#,
            r#"node_zoneinfo_min_pages{node="0",zone="Normal"} -11"#,
            r#"node_zoneinfo_spanned_pages{node="0",zone="Normal"} 0"#,
            r#"node_zoneinfo_nr_dirtied_total{node="0",zone="DMA"} 7"#,
            r#"node_zoneinfo_protection_0{node="0",zone="DMA"} 0"#,
            r#"node_zoneinfo_protection_0{node="0",zone="Normal"} 0"#,
            r#"node_zoneinfo_protection_1{node="0",zone="DMA"} 2943"#,
            r#"node_zoneinfo_protection_1{node="0",zone="Normal"} 0"#,
        ];
        assert_eq!(samples(&mut zoneinfo, &roots), want);
        assert_eq!(samples(&mut zoneinfo, &roots), want, "the second time, with what is kept");
    }
}

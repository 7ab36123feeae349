use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;
use hostwright_core::config::metrics::collectors::slabinfo as options;
use hostwright_core::config::metrics::filter::Filter;

/// In the order of the file.
const FIELDS: [(&str, &str); 5] = [
    ("active_objects", "The number of objects that are currently active (i.e., in use)."),
    ("objects", "The total number of allocated objects (i.e., objects that are both in use and not in use)."),
    ("object_size_bytes", "The size of objects in this slab, in bytes."),
    ("objects_per_slab", "The number of objects stored in each slab."),
    ("pages_per_slab", "The number of pages allocated for each slab."),
];

/// `/proc/slabinfo`: the kernel's own objects.
pub struct Slabinfo {
    slabs: Filter,
    file: KernelFile,
    families: [Family; FIELDS.len()],
    rows: Rows<[u64; FIELDS.len()]>,
}

impl Slabinfo {
    pub fn new(roots: &Roots, options: &options::Slabinfo) -> Self {
        Self {
            slabs: options.slabs.clone(),
            file: KernelFile::new(roots.procfs.join("slabinfo")),
            families: FIELDS.map(|(name, help)| Family::gauge(&format!("node_slabinfo_{name}"), help)),
            rows: Rows::default(),
        }
    }
}

fn parse(line: &[u8]) -> Option<(&[u8], [u64; FIELDS.len()])> {
    let mut words = words(line);
    let name = words.next()?;
    let mut values = [0; FIELDS.len()];
    for value in &mut values {
        *value = number(words.next()?)?;
    }
    Some((name, values))
}

impl Collector for Slabinfo {
    fn name(&self) -> &'static str {
        "slabinfo"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        let is_slab = |line: &&[u8]| !line.starts_with(b"slabinfo -") && !line.starts_with(b"# name");
        for line in text.lines().filter(is_slab) {
            let (name, values) = parse(line).ok_or_else(|| text.malformed("a slab with five numbers", line))?;
            if self.slabs.admits(name) {
                *self.rows.row("slab", name) = values;
            }
        }
        for (at, family) in self.families.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Slabinfo;
    use crate::sample::testing::{collect, samples, tree};
    use hostwright_core::config::metrics::collectors::slabinfo as options;
    use hostwright_core::config::metrics::filter::Filter;

    #[test]
    fn slabs_are_told_with_their_objects_and_can_be_left_out() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> <num_objs>\n\
                    dentry  206816 206839 192 42 2 : tunables 0 0 0 : slabdata 4925 4925 0\n\
                    tw_sock  7 8 9 1 2 : tunables 0 0 0 : slabdata 4925 4925 0\n";
        let (_folder, roots) = tree(&[("proc/slabinfo", text)]);
        let mut slabinfo = Slabinfo::new(&roots, &options::Slabinfo { slabs: Filter::excluding("^tw_") });
        let want = [
            r#"node_slabinfo_active_objects{slab="dentry"} 206816"#,
            r#"node_slabinfo_objects{slab="dentry"} 206839"#,
            r#"node_slabinfo_object_size_bytes{slab="dentry"} 192"#,
            r#"node_slabinfo_objects_per_slab{slab="dentry"} 42"#,
            r#"node_slabinfo_pages_per_slab{slab="dentry"} 2"#,
        ];
        assert_eq!(samples(&mut slabinfo, &roots), want);
        std::fs::write(roots.procfs.join("slabinfo"), "dentry 1 2\n").expect("written");
        assert!(collect(&mut slabinfo, &roots).is_err());
    }
}

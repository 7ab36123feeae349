use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Labels};

/// `/proc/buddyinfo`: free blocks of memory by zone and size.
pub struct Buddyinfo {
    file: KernelFile,
    blocks: Family,
    /// By node and zone, for each size.
    rows: Rows<Vec<(Labels, u64)>>,
}

impl Buddyinfo {
    pub fn new(roots: &Roots) -> Self {
        Self {
            file: KernelFile::new(roots.procfs.join("buddyinfo")),
            blocks: Family::gauge("node_buddyinfo_blocks", "Count of free blocks according to size."),
            rows: Rows::default(),
        }
    }
}

/// `Node 0, zone   DMA   1   1 …` → node, zone, and the rest.
fn place(line: &[u8]) -> Option<(&[u8], &[u8], impl Iterator<Item = &[u8]>)> {
    let mut words = words(line);
    let node = words.nth(1)?;
    let zone = words.nth(1)?;
    Some((node.strip_suffix(b",").unwrap_or(node), zone, words))
}

impl Collector for Buddyinfo {
    fn name(&self) -> &'static str {
        "buddyinfo"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        for line in text.lines() {
            let malformed = || text.malformed("a zone with numbers", line);
            let (node, zone, counts) = place(line).ok_or_else(malformed)?;
            // Up to the zone's end, the line is the same at every scrape.
            let key = line.get(..zone.as_ptr().addr() - line.as_ptr().addr() + zone.len()).unwrap_or(line);
            let sizes = self.rows.row_with(key, |labels| labels.set(&[("node", node), ("zone", zone)]));
            let mut known = 0;
            for count in counts {
                let count = number(count).ok_or_else(malformed)?;
                if known == sizes.len() {
                    let size = known.to_string();
                    sizes.push((Labels::new(&[("node", node), ("zone", zone), ("size", size.as_bytes())]), 0));
                }
                sizes[known].1 = count;
                known += 1;
            }
            sizes.truncate(known);
        }
        let mut samples = scrape.out.family(&self.blocks);
        self.rows.iter().flat_map(|row| &row.values).for_each(|(labels, count)| samples.with(labels, *count));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Buddyinfo;
    use crate::sample::testing::{collect, samples, tree};

    #[test]
    fn blocks_are_counted_by_zone_and_size() {
        let text = "Node 0, zone      DMA      1      0 \nNode 1, zone   Normal   4381   1093 \n";
        let (_folder, roots) = tree(&[("proc/buddyinfo", text)]);
        let mut buddyinfo = Buddyinfo::new(&roots);
        let want = [
            r#"node_buddyinfo_blocks{node="0",zone="DMA",size="0"} 1"#,
            r#"node_buddyinfo_blocks{node="0",zone="DMA",size="1"} 0"#,
            r#"node_buddyinfo_blocks{node="1",zone="Normal",size="0"} 4381"#,
            r#"node_buddyinfo_blocks{node="1",zone="Normal",size="1"} 1093"#,
        ];
        assert_eq!(samples(&mut buddyinfo, &roots), want);
        assert_eq!(samples(&mut buddyinfo, &roots), want, "the second time, with what is kept");
        for broken in ["Node 0, zone\n", "Node 0, zone DMA x\n"] {
            std::fs::write(roots.procfs.join("buddyinfo"), broken).expect("written");
            assert!(collect(&mut buddyinfo, &roots).is_err(), "{broken}");
        }
    }
}

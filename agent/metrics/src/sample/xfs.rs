use super::folder::Folder;
use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

/// Lines of a file system's statistics, with a counter for each of their numbers.
const LINES: [(&str, &[(&str, &str)]); 8] = [
    (
        "extent_alloc",
        &[
            ("extent_allocation_extents_allocated", "Number of extents allocated for a filesystem."),
            ("extent_allocation_blocks_allocated", "Number of blocks allocated for a filesystem."),
            ("extent_allocation_extents_freed", "Number of extents freed for a filesystem."),
            ("extent_allocation_blocks_freed", "Number of blocks freed for a filesystem."),
        ],
    ),
    (
        "abt",
        &[
            ("allocation_btree_lookups", "Number of allocation B-tree lookups for a filesystem."),
            ("allocation_btree_compares", "Number of allocation B-tree compares for a filesystem."),
            ("allocation_btree_records_inserted", "Number of allocation B-tree records inserted for a filesystem."),
            ("allocation_btree_records_deleted", "Number of allocation B-tree records deleted for a filesystem."),
        ],
    ),
    (
        "blk_map",
        &[
            ("block_mapping_reads", "Number of block map for read operations for a filesystem."),
            ("block_mapping_writes", "Number of block map for write operations for a filesystem."),
            ("block_mapping_unmaps", "Number of block unmaps (deletes) for a filesystem."),
            ("block_mapping_extent_list_insertions", "Number of extent list insertions for a filesystem."),
            ("block_mapping_extent_list_deletions", "Number of extent list deletions for a filesystem."),
            ("block_mapping_extent_list_lookups", "Number of extent list lookups for a filesystem."),
            ("block_mapping_extent_list_compares", "Number of extent list compares for a filesystem."),
        ],
    ),
    (
        "bmbt",
        &[
            ("block_map_btree_lookups", "Number of block map B-tree lookups for a filesystem."),
            ("block_map_btree_compares", "Number of block map B-tree compares for a filesystem."),
            ("block_map_btree_records_inserted", "Number of block map B-tree records inserted for a filesystem."),
            ("block_map_btree_records_deleted", "Number of block map B-tree records deleted for a filesystem."),
        ],
    ),
    (
        "dir",
        &[
            (
                "directory_operation_lookup",
                "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
            ),
            ("directory_operation_create", "Number of times a new directory entry was created for a filesystem."),
            ("directory_operation_remove", "Number of times an existing directory entry was created for a filesystem."),
            (
                "directory_operation_getdents",
                "Number of times the directory getdents operation was performed for a filesystem.",
            ),
        ],
    ),
    (
        "ig",
        &[
            ("inode_operation_attempts", "Number of times the OS looked for an XFS inode in the inode cache."),
            ("inode_operation_found", "Number of times the OS looked for and found an XFS inode in the inode cache."),
            (
                "inode_operation_recycled",
                "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
            ),
            (
                "inode_operation_missed",
                "Number of times the OS looked for an XFS inode in the cache, but did not find it.",
            ),
            (
                "inode_operation_duplicates",
                "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process.",
            ),
            (
                "inode_operation_reclaims",
                "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
            ),
            (
                "inode_operation_attribute_changes",
                "Number of times the OS explicitly changed the attributes of an XFS inode.",
            ),
        ],
    ),
    (
        "rw",
        &[
            ("write_calls", "Number of write(2) system calls made to files in a filesystem."),
            ("read_calls", "Number of read(2) system calls made to files in a filesystem."),
        ],
    ),
    (
        "vnodes",
        &[
            ("vnode_active", "Number of vnodes not on free lists for a filesystem."),
            ("vnode_allocate", "Number of times vn_alloc called for a filesystem."),
            ("vnode_get", "Number of times vn_get called for a filesystem."),
            ("vnode_hold", "Number of times vn_hold called for a filesystem."),
            ("vnode_release", "Number of times vn_rele called for a filesystem."),
            ("vnode_reclaim", "Number of times vn_reclaim called for a filesystem."),
            ("vnode_remove", "Number of times vn_remove called for a filesystem."),
        ],
    ),
];

/// `/sys/fs/xfs/<device>/stats/stats`: what XFS did on each device.
pub struct Xfs {
    devices: Folder<KernelFile>,
    families: Vec<Family>,
    rows: Rows<Vec<u64>>,
}

impl Xfs {
    pub fn new(roots: &Roots) -> Self {
        let counters = LINES.iter().flat_map(|(_, counters)| counters.iter());
        let family = |(name, help): &(&str, &str)| Family::counter(&format!("node_xfs_{name}_total"), help);
        Self {
            devices: Folder::new(roots.sysfs.join("fs/xfs")),
            families: counters.map(family).collect(),
            rows: Rows::default(),
        }
    }
}

/// The numbers of all lines, 0 where this kernel has none.
fn parse(file: &mut KernelFile, values: &mut Vec<u64>) -> Result<(), CollectError> {
    let text = file.read()?;
    values.clear();
    for (key, counters) in LINES {
        let begin = values.len();
        let line = text.lines().find(|line| words(line).next() == Some(key.as_bytes()));
        if let Some(line) = line {
            values.extend(words(line).skip(1).map_while(number).take(counters.len()));
            if values.len() - begin < counters.len() {
                return Err(text.malformed("a number for each counter", line));
            }
        }
        values.resize(begin + counters.len(), 0);
    }
    Ok(())
}

impl Collector for Xfs {
    fn name(&self) -> &'static str {
        "xfs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.rows.begin();
        let found = self.devices.refresh(|_, path| {
            let file = path.join("stats/stats");
            file.is_file().then(|| KernelFile::new(file))
        });
        match found {
            // Without XFS there is no folder, which is no failure.
            Ok(()) | Err(CollectError::NoData { .. }) => {}
            Err(error) => return Err(error),
        }
        for (name, file) in self.devices.iter_mut() {
            match parse(file, self.rows.row("device", name)) {
                // It was unmounted meanwhile.
                Err(CollectError::NoData { .. }) => self.rows.forget(),
                parsed => parsed?,
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
    use super::Xfs;
    use crate::sample::testing::{assert_has, collect, samples, tree};

    const STATS: &str = "extent_alloc 1 2 3 4\nabt 0 0 0 0\nrw 28 9\nvnodes 4 0 0 0 1 1 1 0\nxpc 399724544 92823103 86219234\ndebug 0\n";

    #[test]
    fn counters_of_each_device_are_taken_and_lines_that_are_not_there_are_zero() {
        let (_folder, roots) = tree(&[
            ("sys/fs/xfs/sda1/stats/stats", STATS),
            ("sys/fs/xfs/dm-0/stats/stats", ""),
            ("sys/fs/xfs/stats/stats", STATS),
            ("sys/fs/xfs/debug/bug_on_assert", "1\n"),
        ]);
        let mut xfs = Xfs::new(&roots);
        let lines = samples(&mut xfs, &roots);
        assert_has(
            &lines,
            &[
                r#"node_xfs_extent_allocation_blocks_freed_total{device="sda1"} 4"#,
                r#"node_xfs_read_calls_total{device="sda1"} 9"#,
                r#"node_xfs_write_calls_total{device="sda1"} 28"#,
                r#"node_xfs_vnode_remove_total{device="sda1"} 1"#,
                r#"node_xfs_block_mapping_reads_total{device="sda1"} 0"#,
                r#"node_xfs_read_calls_total{device="dm-0"} 0"#,
            ],
        );
        assert_eq!(lines.len(), 2 * 39);
        assert_eq!(samples(&mut xfs, &roots), lines, "the second time, with what is kept");
    }

    #[test]
    fn a_line_with_too_few_numbers_is_refused_and_a_host_without_xfs_has_no_devices() {
        let (_folder, roots) = tree(&[("sys/fs/xfs/sda1/stats/stats", "rw 28\n")]);
        assert!(collect(&mut Xfs::new(&roots), &roots).is_err());
        let (_folder, roots) = tree(&[]);
        assert_eq!(collect(&mut Xfs::new(&roots), &roots).expect("collected"), "");
    }
}

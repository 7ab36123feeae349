use super::folder::Folder;
use super::grid::{Grid, is_part_of_a_name};
use super::kernel_file::{Reader, Text};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Encoder, Family, Kind, Labels, Samples};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Statistics of ZFS as a whole: the name in the metrics, and the file.
const FILES: [(&str, &str); 11] = [
    ("abd", "abdstats"),
    ("arc", "arcstats"),
    ("dbuf", "dbufstats"),
    ("dmu_tx", "dmu_tx"),
    ("dnode", "dnodestats"),
    ("fm", "fm"),
    ("vdev_cache", "vdev_cache_stats"),
    ("vdev_mirror", "vdev_mirror_stats"),
    ("xuio", "xuio_stats"),
    ("zfetch", "zfetchstats"),
    ("zil", "zil"),
];

const STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// Fewer columns than this are no statistics of a pool's input and output.
const FEWEST_COLUMNS: usize = 12;

/// Types of a kstat's value.
const INT64: &[u8] = b"3";
const UINT64: &[u8] = b"4";

/// `/proc/spl/kstat/zfs`: what ZFS does as a whole, by pool and by dataset.
pub struct Zfs {
    files: Vec<Kstat>,
    pools: Folder<Pool>,
    io: Grid,
    datasets: Grid,
    reader: Reader,
    state: Family,
}

/// A file of named values.
struct Kstat {
    subsystem: &'static str,
    name: &'static str,
    file: KernelFile,
    /// In the order of the file; null in place of a family for a value that is not told.
    fields: Vec<(Vec<u8>, Option<Family>)>,
}

struct Pool {
    path: PathBuf,
    io: KernelFile,
    state: KernelFile,
    states: [Labels; STATES.len()],
}

impl Zfs {
    pub fn new(roots: &Roots) -> Self {
        let folder = roots.procfs.join("spl/kstat/zfs");
        let kstat = |(subsystem, name): (&'static str, &'static str)| Kstat {
            subsystem,
            name,
            file: KernelFile::new(folder.join(name)),
            fields: Vec::new(),
        };
        Self {
            files: FILES.into_iter().map(kstat).collect(),
            io: Grid::new(|field| family("zpool", "io", field)),
            datasets: Grid::new(|field| family("zpool_dataset", "objset", field)),
            reader: Reader::default(),
            state: Family::gauge("node_zfs_zpool_state", "kstat.zfs.misc.state"),
            pools: Folder::new(folder),
        }
    }
}

fn family(subsystem: &str, kstat: &str, field: &str) -> Family {
    let help = format!("kstat.zfs.misc.{kstat}.{field}");
    Family::new(&format!("node_zfs_{subsystem}_{}", field.replace('-', "_")), &help, Kind::Untyped)
}

/// The lines below the one of the columns' names.
fn values<'a>(text: Text<'a>) -> Result<impl Iterator<Item = &'a [u8]>, CollectError> {
    let mut lines = text.lines();
    let is_head = |line: &[u8]| words(line).eq([&b"name"[..], b"type", b"data"]);
    if lines.by_ref().any(is_head) { Ok(lines) } else { Err(text.malformed("a line \"name type data\"", b"none")) }
}

impl Kstat {
    fn collect(&mut self, out: &mut Encoder) -> Result<(), CollectError> {
        let text = match self.file.read() {
            // Which files there are depends on the version of ZFS.
            Err(CollectError::NoData { .. }) => return Ok(()),
            text => text?,
        };
        for (at, line) in values(text)?.enumerate() {
            let mut words = words(line);
            let (Some(field), Some(kind), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
            if self.fields.get(at).is_none_or(|(known, _)| known != field) {
                self.fields.truncate(at);
                // A field that is passed over keeps its place.
                self.fields.resize(at, (Vec::new(), None));
                let is_told = kind == INT64 || kind == UINT64;
                let name = std::str::from_utf8(field).ok().filter(|name| is_told && is_part_of_a_name(name));
                let family = name.map(|name| family(self.subsystem, self.name, name));
                self.fields.push((field.to_owned(), family));
            }
            let Some(family) = &self.fields[at].1 else { continue };
            let malformed = || text.malformed("a name with its type and number", line);
            match std::str::from_utf8(value).ok().and_then(|value| value.parse::<i64>().ok()) {
                Some(value) if kind == INT64 => out.family(family).put(value),
                _ => out.family(family).put(number(value).ok_or_else(malformed)?),
            }
        }
        Ok(())
    }
}

impl Pool {
    fn new(name: &[u8], path: &Path) -> Self {
        let state = |state: &str| Labels::new(&[("state", state.as_bytes()), ("zpool", name)]);
        Self {
            path: path.to_owned(),
            io: KernelFile::new(path.join("io")),
            state: KernelFile::new(path.join("state")),
            states: STATES.map(state),
        }
    }

    fn read_io(&mut self, name: &[u8], grid: &mut Grid) -> Result<(), CollectError> {
        let text = match self.io.read() {
            // Since OpenZFS 2.1 there is none.
            Err(CollectError::NoData { .. }) => return Ok(()),
            text => text?,
        };
        let mut lines = text.lines();
        let is_head = |line: &&[u8]| words(line).next() == Some(b"nread") && words(line).count() >= FEWEST_COLUMNS;
        let Some(head) = lines.find(is_head) else { return Ok(()) };
        let Some(line) = lines.next() else { return Ok(()) };
        grid.row(&[("zpool", name)]);
        let mut numbers = words(line);
        for field in words(head) {
            let value = numbers.next().and_then(number);
            grid.put(field, value.ok_or_else(|| text.malformed("a number for each name", line))?);
        }
        Ok(())
    }

    fn read_datasets(&self, name: &[u8], reader: &mut Reader, grid: &mut Grid) -> Result<(), CollectError> {
        // The pool may be exported meanwhile.
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_of_a_dataset(path)).collect();
        files.sort_unstable();
        let mut read = Ok(());
        for path in files {
            let one = match reader.read(&path) {
                Err(CollectError::NoData { .. }) => continue,
                text => text.and_then(|text| read_dataset(name, text, grid)),
            };
            read = read.and(one);
        }
        read
    }

    fn write_state(&mut self, samples: &mut Samples<'_>) -> Result<(), CollectError> {
        let text = match self.state.read() {
            Err(CollectError::NoData { .. }) => return Ok(()),
            text => text?,
        };
        let now = text.lines().next().unwrap_or_default();
        for (state, labels) in STATES.into_iter().zip(&self.states) {
            samples.with(labels, now.eq_ignore_ascii_case(state.as_bytes()));
        }
        Ok(())
    }
}

fn is_of_a_dataset(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"objset-"))
}

/// The third word with all that follows it: a name may have spaces.
fn after_two_words(line: &[u8]) -> &[u8] {
    let mut rest = line.trim_ascii_start();
    for _ in 0..2 {
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        rest = rest[end..].trim_ascii_start();
    }
    rest
}

fn read_dataset(pool: &[u8], text: Text<'_>, grid: &mut Grid) -> Result<(), CollectError> {
    let is_name = |line: &&[u8]| words(line).next() == Some(b"dataset_name");
    let name = values(text)?.find(is_name).map(after_two_words).unwrap_or_default();
    grid.row(&[("dataset", name), ("zpool", pool)]);
    for line in values(text)? {
        let mut words = words(line);
        let (Some(field), Some(kind), Some(value)) = (words.next(), words.next(), words.next()) else { continue };
        if kind == UINT64 {
            grid.put(field, number(value).ok_or_else(|| text.malformed("a name with its type and number", line))?);
        }
    }
    Ok(())
}

impl Collector for Zfs {
    fn name(&self) -> &'static str {
        "zfs"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        // Pools are folders beside the files.
        let files = FILES.map(|(_, file)| file.as_bytes());
        self.pools.refresh(|name, path| (!files.contains(&name) && path.is_dir()).then(|| Pool::new(name, path)))?;
        // Each file that is not understood costs itself alone.
        let mut read = Ok(());
        for file in &mut self.files {
            read = read.and(file.collect(scrape.out));
        }
        self.io.begin();
        self.datasets.begin();
        for (name, pool) in self.pools.iter_mut() {
            read = read.and(pool.read_io(name, &mut self.io));
            read = read.and(pool.read_datasets(name, &mut self.reader, &mut self.datasets));
        }
        self.io.write(scrape.out);
        self.datasets.write(scrape.out);
        let mut samples = scrape.out.family(&self.state);
        for (_, pool) in self.pools.iter_mut() {
            read = read.and(pool.write_state(&mut samples));
        }
        scrape.failed = read.err();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Zfs, after_two_words};
    use crate::sample::CollectError;
    use crate::sample::testing::{assert_has, collect, samples, tree};

    const ARC: &str = "13 1 0x01 4 4368 5266997922 97951858082072\nname                            type data\n\
                       hits                            4    8772612\nmemory_available_bytes          3    -922337203685477580\n\
                       l2_size-x                       4    7\nlabel                           7    text\n";
    const IO: &str = "12 3 0x00 1 80 79205351707403 395818011156865\n\
                      nread    nwritten reads    writes   wtime    wlentime wupdate  rtime    rlentime rupdate  wcnt     rcnt\n\
                      1884160  3206144  22       132      7155162  104112268 1 24168078 2 3 4 5\n";
    const OBJSET: &str = "23 1 0x01 7 2160 221578688875 6665999035587\nname                            type data\n\
                          dataset_name                    7    tank/my data\nwrites                          4    12\n";

    #[test]
    fn statistics_of_all_of_pools_and_of_datasets_are_taken() {
        let (_folder, roots) = tree(&[
            ("proc/spl/kstat/zfs/arcstats", ARC),
            ("proc/spl/kstat/zfs/dbgmsg", "whatever\n"),
            ("proc/spl/kstat/zfs/tank/io", IO),
            ("proc/spl/kstat/zfs/tank/state", "DEGRADED\n"),
            ("proc/spl/kstat/zfs/tank/objset-0x36", OBJSET),
            ("proc/spl/kstat/zfs/new/state", "ONLINE\n"),
        ]);
        let mut zfs = Zfs::new(&roots);
        let lines = samples(&mut zfs, &roots);
        assert_has(
            &lines,
            &[
                "node_zfs_arc_hits 8772612",
                "node_zfs_arc_memory_available_bytes -922337203685477580",
                "node_zfs_arc_l2_size_x 7",
                r#"node_zfs_zpool_nread{zpool="tank"} 1884160"#,
                r#"node_zfs_zpool_rcnt{zpool="tank"} 5"#,
                r#"node_zfs_zpool_dataset_writes{dataset="tank/my data",zpool="tank"} 12"#,
                r#"node_zfs_zpool_state{state="online",zpool="tank"} 0"#,
                r#"node_zfs_zpool_state{state="degraded",zpool="tank"} 1"#,
                r#"node_zfs_zpool_state{state="online",zpool="new"} 1"#,
            ],
        );
        assert_eq!(lines.len(), 3 + 12 + 1 + 2 * 7);
        assert_eq!(samples(&mut zfs, &roots), lines, "the second time, with what is kept");
        let text = collect(&mut zfs, &roots).expect("collected");
        assert!(text.contains("# HELP node_zfs_arc_l2_size_x kstat.zfs.misc.arcstats.l2_size-x\n# TYPE node_zfs_arc_l2_size_x untyped\n"), "{text}");
    }

    #[test]
    fn a_dataset_that_was_renamed_and_a_pool_that_was_exported_are_told_as_they_are() {
        let objset = "proc/spl/kstat/zfs/tank/objset-0x36";
        let (_folder, roots) = tree(&[(objset, OBJSET)]);
        let mut zfs = Zfs::new(&roots);
        assert_eq!(samples(&mut zfs, &roots).len(), 1);
        let path = roots.procfs.join("spl/kstat/zfs/tank/objset-0x36");
        std::fs::write(path, OBJSET.replace("my data", "new")).expect("written");
        assert_eq!(samples(&mut zfs, &roots), [r#"node_zfs_zpool_dataset_writes{dataset="tank/new",zpool="tank"} 12"#]);
        std::fs::remove_dir_all(roots.procfs.join("spl/kstat/zfs/tank")).expect("removed");
        assert_eq!(samples(&mut zfs, &roots).len(), 0);
    }

    #[test]
    fn what_is_no_statistic_is_refused_and_a_host_without_zfs_has_no_data() {
        let of_all = ["hits 4 1\n", "name type data\nhits 4 x\n", "name type data\nhits 3 9223372036854775808x\n"];
        for text in of_all {
            let (_folder, roots) = tree(&[("proc/spl/kstat/zfs/arcstats", text), ("proc/spl/kstat/zfs/fm", ARC)]);
            let mut zfs = Zfs::new(&roots);
            assert!(zfs.files[1].collect(&mut Encoder::default()).is_err(), "{text}");
            assert_eq!(samples(&mut zfs, &roots).len(), 3, "other files are told");
        }
        for (path, text) in [("io", IO.replace(" 5\n", "\n")), ("objset-1", "writes 4 1\n".to_owned())] {
            let bad = format!("proc/spl/kstat/zfs/tank/{path}");
            let of_all = ("proc/spl/kstat/zfs/arcstats", ARC);
            let others = [of_all, ("proc/spl/kstat/zfs/tank/objset-2", OBJSET), ("proc/spl/kstat/zfs/two/io", IO)];
            let (_folder, roots) = tree(&[&others[..], &[(&bad, &text)]].concat());
            let mut zfs = Zfs::new(&roots);
            let lines = samples(&mut zfs, &roots);
            let other = [
                "node_zfs_arc_hits 8772612",
                r#"node_zfs_zpool_dataset_writes{dataset="tank/my data",zpool="tank"} 12"#,
                r#"node_zfs_zpool_nread{zpool="two"} 1884160"#,
            ];
            assert_has(&lines, &other);
        }
        let (_folder, roots) = tree(&[]);
        assert!(matches!(collect(&mut Zfs::new(&roots), &roots), Err(CollectError::NoData { .. })));
        assert_eq!(after_two_words(b" a 7 "), b"");
    }
}

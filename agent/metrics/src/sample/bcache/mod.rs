//! Disks with a faster one before them: in come the files of each set, out go families by set, disk and cache.

/// Numbers as the kernel writes them here.
mod human;

use super::kernel_file::lines;
use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Unit, malformed, write};
use super::{CollectError, Collector, Roots, Scrape, words};
use crate::encode::{Family, Kind, Labels};
use hostwright_core::config::metrics::collectors::bcache as options;
use std::path::Path;

/// How the lines of `writeback_rate_debug` begin that are told, in the order of their families.
const TERMS: [&str; 5] = ["target:", "rate:", "proportional:", "integral:", "change:"];
/// The same of `priority_stats`.
const PRIORITIES: [&str; 2] = ["Unused:", "Metadata:"];
const READAHEADS: &str = "stats_total/cache_readaheads";

/// The sets of caches and the disks behind them.
pub struct Bcache {
    options: options::Bcache,
    sets: Devices<Set>,
    families: Families,
    page: Page,
}

struct Families {
    set: Vec<Column>,
    backing: Vec<Column>,
    cache: Vec<Column>,
    terms: [Family; TERMS.len()],
    priorities: [Family; PRIORITIES.len()],
}

struct Set {
    name: Vec<u8>,
    row: Row,
    backing: Devices<Part<{ TERMS.len() }>>,
    caches: Devices<Part<{ PRIORITIES.len() }>>,
}

/// A disk or a cache, with what one of its files says in several lines.
struct Part<const N: usize> {
    row: Row,
    file: Attribute,
    values: [f64; N],
}

impl<const N: usize> Part<N> {
    fn read(&mut self, page: &mut Page, line: fn(&[u8], &mut [f64; N]) -> Option<()>) -> Result<(), CollectError> {
        self.values = [0.0; N];
        let text = self.file.read_whole(page).map_err(|source| CollectError::reading(self.file.path(), source))?;
        let mut all = lines(text);
        match all.find(|one| line(one, &mut self.values).is_none()) {
            Some(wrong) => Err(malformed(self.file.path(), "a number", wrong)),
            None => Ok(()),
        }
    }
}

/// Takes the number of a line that is told; none where it is no number.
fn term(line: &[u8], values: &mut [f64; TERMS.len()]) -> Option<()> {
    let Some(at) = TERMS.iter().position(|term| line.starts_with(term.as_bytes())) else { return Some(()) };
    let last = words(line).last()?;
    let last = last.strip_suffix(b"/sec").unwrap_or(last);
    values[at] = if at < 2 { human::size(last) } else { human::signed_size(last) }?;
    Some(())
}

fn priority(line: &[u8], values: &mut [f64; PRIORITIES.len()]) -> Option<()> {
    let Some(at) = PRIORITIES.iter().position(|name| line.starts_with(name.as_bytes())) else { return Some(()) };
    let last = words(line).last()?;
    values[at] = super::number(last.strip_suffix(b"%").unwrap_or(last))? as f64;
    Some(())
}

impl Set {
    fn new(path: &Path, name: &[u8], columns: &[Column]) -> Self {
        Self {
            name: name.to_vec(),
            row: Row { labels: Labels::new(&[("uuid", name)]), columns: Columns::new(path, columns) },
            backing: Devices::new(path.to_owned()),
            caches: Devices::new(path.to_owned()),
        }
    }

    fn read(&mut self, page: &mut Page, families: &Families, priorities: bool) -> Result<(), CollectError> {
        read(&mut self.row, page)?;
        let uuid = &self.name;
        self.backing.refresh(
            |entry| entry.is_numbered("bdev"),
            |path, name| Part {
                row: Row {
                    labels: Labels::new(&[("backing_device", name), ("uuid", uuid)]),
                    columns: Columns::new(path, &families.backing),
                },
                file: Attribute::new(path.join("writeback_rate_debug")),
                values: [0.0; TERMS.len()],
            },
        )?;
        for disk in self.backing.iter_mut() {
            read(&mut disk.row, page)?;
            disk.read(page, term)?;
            if let Some(at) = families.backing.iter().position(|column| column.file == READAHEADS) {
                let ahead = &mut disk.row.columns.values()[at];
                *ahead = ahead.filter(|count| *count != 0.0);
            }
        }
        self.caches.refresh(
            |entry| entry.is_numbered("cache"),
            |path, name| Part {
                row: Row {
                    labels: Labels::new(&[("cache_device", name), ("uuid", uuid)]),
                    columns: Columns::new(path, &families.cache),
                },
                file: Attribute::new(path.join("priority_stats")),
                values: [0.0; PRIORITIES.len()],
            },
        )?;
        for cache in self.caches.iter_mut() {
            read(&mut cache.row, page)?;
            if priorities {
                cache.read(page, priority)?;
            }
        }
        Ok(())
    }
}

/// What a kernel does not tell is 0, as in the original.
fn read(row: &mut Row, page: &mut Page) -> Result<(), CollectError> {
    row.columns.read(page, human::size)?;
    row.columns.values().iter_mut().for_each(|value| *value = value.or(Some(0.0)));
    Ok(())
}

impl Bcache {
    pub fn new(roots: &Roots, options: &options::Bcache) -> Self {
        Self {
            options: options.clone(),
            sets: Devices::new(roots.sysfs.join("fs/bcache")),
            families: families(),
            page: Page::default(),
        }
    }

    fn write(&self, scrape: &mut Scrape<'_>) {
        let families = &self.families;
        write(scrape.out, &families.set, || self.sets.iter().map(|set| &set.row));
        let disks = || self.sets.iter().flat_map(|set| set.backing.iter());
        write(scrape.out, &families.backing, || disks().map(|disk| &disk.row));
        for (at, family) in families.terms.iter().enumerate() {
            let mut samples = scrape.out.family(family);
            disks().for_each(|disk| samples.with(&disk.row.labels, disk.values[at]));
        }
        let caches = || self.sets.iter().flat_map(|set| set.caches.iter());
        write(scrape.out, &families.cache, || caches().map(|cache| &cache.row));
        for (at, family) in families.priorities.iter().enumerate().filter(|_| self.options.priority_stats) {
            let mut samples = scrape.out.family(family);
            caches().for_each(|cache| samples.with(&cache.row.labels, cache.values[at]));
        }
    }
}

fn families() -> Families {
    let family = |name: &str, help: &str| {
        let kind = if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
        Family::new(&format!("node_bcache_{name}"), help, kind)
    };
    let column = |file, name: &str, help: &str| Column { file, family: family(name, help), unit: Unit::One };
    let duration = family("btree_read_average_duration_seconds", "Average btree read duration.");
    Families {
        set: vec![
            column("average_key_size", "average_key_size_sectors", "Average data per key in the btree (sectors)."),
            column("btree_cache_size", "btree_cache_size_bytes", "Amount of memory currently used by the btree cache."),
            column(
                "cache_available_percent",
                "cache_available_percent",
                "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
            ),
            column("congested", "congested", "Congestion."),
            column(
                "root_usage_percent",
                "root_usage_percent",
                "Percentage of the root btree node in use (tree depth increases if too high).",
            ),
            column("tree_depth", "tree_depth", "Depth of the btree."),
            column(
                "internal/active_journal_entries",
                "active_journal_entries",
                "Number of journal entries that are newer than the index.",
            ),
            column("internal/btree_nodes", "btree_nodes", "Total nodes in the btree."),
            // The original takes the microseconds for nanoseconds.
            Column { file: "internal/btree_read_average_duration_us", family: duration, unit: Unit::Times(1e-9) },
            column(
                "internal/cache_read_races",
                "cache_read_races_total",
                "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. where the pointer was stale after the read completed.",
            ),
        ],
        backing: vec![
            column("dirty_data", "dirty_data_bytes", "Amount of dirty data for this backing device in the cache."),
            column(
                "stats_total/bypassed",
                "bypassed_bytes_total",
                "Amount of IO (both reads and writes) that has bypassed the cache.",
            ),
            column(
                "stats_total/cache_bypass_hits",
                "cache_bypass_hits_total",
                "Hits for IO intended to skip the cache.",
            ),
            column(
                "stats_total/cache_bypass_misses",
                "cache_bypass_misses_total",
                "Misses for IO intended to skip the cache.",
            ),
            column("stats_total/cache_hits", "cache_hits_total", "Hits counted per individual IO as bcache sees them."),
            column(
                "stats_total/cache_miss_collisions",
                "cache_miss_collisions_total",
                "Instances where data insertion from cache miss raced with write (data already present).",
            ),
            column(
                "stats_total/cache_misses",
                "cache_misses_total",
                "Misses counted per individual IO as bcache sees them.",
            ),
            column(READAHEADS, "cache_readaheads_total", "Count of times readahead occurred."),
        ],
        cache: vec![
            column("io_errors", "io_errors", "Number of errors that have occurred, decayed by io_error_halflife."),
            column(
                "metadata_written",
                "metadata_written_bytes_total",
                "Sum of all non data writes (btree writes and all other metadata).",
            ),
            column("written", "written_bytes_total", "Sum of all data that has been written to the cache."),
        ],
        terms: [
            family("dirty_target_bytes", "Current dirty data target threshold for this backing device in bytes."),
            family("writeback_rate", "Current writeback rate for this backing device in bytes."),
            family(
                "writeback_rate_proportional_term",
                "Current result of proportional controller, part of writeback rate",
            ),
            family("writeback_rate_integral_term", "Current result of integral controller, part of writeback rate"),
            family("writeback_change", "Last writeback rate change step for this backing device."),
        ],
        priorities: [
            family("priority_stats_unused_percent", "The percentage of the cache that doesn't contain any data."),
            family("priority_stats_metadata_percent", "Bcache's metadata overhead."),
        ],
    }
}

impl Collector for Bcache {
    fn name(&self) -> &'static str {
        "bcache"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let found = self
            .sets
            .refresh(|entry| entry.name.contains(&b'-'), |path, name| Set::new(path, name, &self.families.set));
        // A host without any has none to tell of, which is an answer.
        match found {
            Err(CollectError::NoData { .. }) => return Ok(()),
            found => found?,
        };
        let priorities = self.options.priority_stats;
        for set in self.sets.iter_mut() {
            set.read(&mut self.page, &self.families, priorities)?;
        }
        self.write(scrape);
        Ok(())
    }
}

//! `node_textfile_*` and the families of text files that other programs write.
//!
//! In: `*.prom` in the configured folders. Out: their families, each written once for all files and for the collectors
//! that have it too, and what is wrong with files, by file and line. Files are read again when they change. Nothing
//! survives a restart.

/// Which files there are.
mod directories;
/// A file that is read once.
mod file;
/// Numbers in labels.
mod go_number;
/// Families of all files.
mod merge;
/// What a file says.
mod text_format;

use super::{CollectError, Collector, Scrape};
use crate::encode::{Encoder, Family, Labels};
use directories::Directories;
use file::Parsed;
use hostwright_core::config::metrics::collectors::textfile::Textfile as Options;
use merge::{Block, Merged, merge};
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Of all files together: what is kept of them takes several times as much.
const MOST: u64 = 32 << 20;
/// The status tells no more faults than these; the rest is counted.
const MOST_FAULTS: usize = 8;

/// Text files.
pub struct Textfile {
    directories: Directories,
    files: BTreeMap<PathBuf, TextFile>,
    merged: Merged,
    /// Which of the merged families a collector has too, so that they are written there or not at all.
    placed: Vec<bool>,
    troubles: Vec<String>,
    modified: Family,
    error: Family,
}

struct TextFile {
    parsed: Parsed,
    /// In the order of the folders: the first file that has a family says what it is.
    place: usize,
    labels: Labels,
}

impl Textfile {
    pub fn new(options: &Options) -> Self {
        Self {
            directories: Directories::new(&options.directories),
            files: BTreeMap::new(),
            merged: Merged::default(),
            placed: Vec::new(),
            troubles: Vec::new(),
            modified: Family::gauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read."),
            error: Family::gauge(
                "node_textfile_scrape_error",
                "1 if there was an error opening or reading a file, 0 otherwise",
            ),
        }
    }

    /// Reads what changed, and merges anew if anything did. Returns whether a folder cannot be read.
    fn refresh(&mut self) -> bool {
        self.troubles.clear();
        let mut before = std::mem::take(&mut self.files);
        let (files, troubles) = (&mut self.files, &mut self.troubles);
        let (mut changed, mut size) = (false, 0);
        let each = |path: PathBuf| {
            // Two patterns may find the same file.
            if files.contains_key(&path) {
                return;
            }
            let (file, is_new) = TextFile::read(&path, before.remove(&path), files.len(), MOST.saturating_sub(size));
            changed |= is_new;
            size += file.parsed.size;
            files.insert(path, file);
        };
        self.directories.list(each, |folder, error| {
            let folder = folder.display();
            troubles.push(format!(
                "the folder {folder} cannot be read: {error}; see metrics.collectors.textfile.directory"
            ));
        });
        if changed || !before.is_empty() {
            let mut files: Vec<_> = self.files.iter().collect();
            files.sort_by_key(|(_, file)| file.place);
            self.merged = merge(files.into_iter().map(|(path, file)| (path.as_path(), &file.parsed)));
        }
        !self.troubles.is_empty()
    }

    /// Notes what is wrong with files; returns whether anything is.
    fn note_faults(&mut self) -> bool {
        let broken = self.files.iter().filter_map(|(path, file)| Some((path, file.parsed.content.as_ref().err()?)));
        let broken = broken.map(|(path, why)| format!("{} is left out: {why}", path.display()));
        let before = self.troubles.len();
        self.troubles.extend(broken);
        let is_broken = self.troubles.len() > before;
        self.troubles.extend_from_slice(&self.merged.faults);
        is_broken
    }
}

impl TextFile {
    /// The file as it is now, and whether that is anything new.
    fn read(path: &Path, before: Option<Self>, place: usize, limit: u64) -> (Self, bool) {
        match before {
            Some(file) if file.parsed.is_current(path) => {
                let is_new = file.place != place;
                (Self { place, ..file }, is_new)
            }
            before => {
                let parsed = Parsed::read(path, limit);
                let is_new = before.is_none_or(|file| file.place != place || !file.parsed.is_like(&parsed));
                let labels = Labels::new(&[("file", path.as_os_str().as_bytes())]);
                (Self { parsed, place, labels }, is_new)
            }
        }
    }
}

impl Collector for Textfile {
    fn name(&self) -> &'static str {
        "textfile"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let mut is_error = self.refresh();
        is_error |= self.note_faults() || self.merged.is_error;
        let mut samples = scrape.out.family(&self.modified);
        for file in self.files.values().filter(|file| file.parsed.content.is_ok()) {
            samples.with(&file.labels, file.parsed.modified);
        }
        scrape.out.family(&self.error).put(is_error);
        Ok(())
    }

    /// Families that are there already get the files' samples where HELP and TYPE agree; the others follow.
    fn finish(&mut self, out: &mut Encoder) {
        self.placed.clear();
        self.placed.resize(self.merged.blocks.len(), false);
        if !self.merged.blocks.is_empty() {
            let names = &self.merged.names;
            let there = out.families().filter_map(|(name, range)| {
                let at = names.get(std::str::from_utf8(name).ok()?)?;
                Some((*at, range))
            });
            let there: Vec<_> = there.collect();
            // From the end, so that what is inserted moves no place that is still to come.
            for (at, range) in there.into_iter().rev() {
                self.placed[at] = true;
                let block = &self.merged.blocks[at];
                if let Some(why) = join(block, out, range) {
                    self.troubles.push(why);
                }
            }
        }
        for (block, _) in self.merged.blocks.iter().zip(&self.placed).filter(|(_, placed)| !**placed) {
            block.write(&mut out.family(&block.family));
        }
        let more = self.troubles.len().saturating_sub(MOST_FAULTS);
        if more > 0 {
            self.troubles.truncate(MOST_FAULTS);
            self.troubles.push(format!("{more} more"));
        }
    }

    fn troubles(&self) -> &[String] {
        &self.troubles
    }
}

/// Writes the block's samples to the end of the same family, which is there already. Returns what is wrong with that.
fn join(block: &Block, out: &mut Encoder, range: Range<usize>) -> Option<String> {
    let name = &block.name;
    if !out.has_header(&range, &block.family) {
        return Some(format!("text files have {name} with another HELP or TYPE than this agent, so they are left out"));
    }
    let (mut twice, start) = (0, out.mark());
    for sample in &block.samples {
        let mark = out.mark();
        sample.write(&mut out.more_of(&block.family));
        if out.has_series(range.clone(), mark) {
            twice += 1;
            out.truncate(mark);
        }
    }
    out.move_to(range.end, start);
    (twice > 0).then(|| format!("text files have {twice} samples of {name} that this agent has too"))
}

#[cfg(test)]
mod tests {
    use super::super::rtnetlink::Links;
    use super::{MOST_FAULTS, Options, Textfile};
    use crate::encode::{Encoder, Family, Labels};
    use crate::sample::{Collector, Scrape};
    use std::fs;
    use std::time::{Duration, SystemTime};

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = Self(tempfile::tempdir().expect("temporary folder"));
            files.iter().for_each(|(name, text)| folder.write(name, text));
            folder
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).expect("written");
        }

        fn collector(&self) -> Textfile {
            Textfile::new(&Options { directories: vec![self.0.path().to_owned()] })
        }

        /// The folder's name is not part of the text.
        fn collect(&self, collector: &mut Textfile, before: impl FnOnce(&mut Encoder)) -> (Vec<String>, Vec<String>) {
            let mut out = Encoder::new(Labels::new(&[("role", b"x")]));
            before(&mut out);
            let error = crate::sample::CollectError::NoData { path: "stat".into() };
            collector.collect(&mut Scrape::new(&mut out, Err(&error), &mut Links::default())).expect("collected");
            collector.finish(&mut out);
            let folder = format!("{}/", self.0.path().display());
            let text = String::from_utf8(out.take()).expect("UTF-8").replace(&folder, "");
            let troubles = collector.troubles().iter().map(|why| why.replace(&folder, ""));
            (
                text.replace(",role=\"x\"", "").replace("{role=\"x\"}", "").lines().map(str::to_owned).collect(),
                troubles.collect(),
            )
        }
    }

    fn values(lines: &[String]) -> Vec<&str> {
        let others = |line: &&str| !line.starts_with('#') && !line.starts_with("node_textfile_mtime");
        lines.iter().map(String::as_str).filter(others).collect()
    }

    #[test]
    fn a_file_is_taken_whole_or_left_out_with_its_line_told() {
        let folder =
            Folder::new(&[("a.prom", "a 1\n"), ("b.prom", "b 1\n\nb x\n"), ("c.prom", "c 1"), ("d.txt", "d 1\n")]);
        let (lines, troubles) = folder.collect(&mut folder.collector(), |_| ());
        assert_eq!(values(&lines), ["node_textfile_scrape_error 1", "a 1"]);
        assert!(lines.contains(&"# HELP a Metric read from a.prom".to_owned()), "{lines:?}");
        assert!(lines.contains(&"# TYPE a untyped".to_owned()), "{lines:?}");
        let modified: Vec<_> = lines.iter().filter(|line| line.starts_with("node_textfile_mtime_seconds{")).collect();
        assert!(
            modified.len() == 1 && modified[0].starts_with("node_textfile_mtime_seconds{file=\"a.prom\"} 1"),
            "{modified:?}"
        );
        let want = [
            "b.prom is left out: line 3: expected a number as the value, found \"x\"",
            "c.prom is left out: line 1: the last line has no end, as if the file was cut off",
        ];
        assert_eq!(troubles, want);
    }

    #[test]
    fn a_family_of_several_files_is_written_once_with_the_labels_that_each_file_gives_it() {
        let folder = Folder::new(&[("1.prom", "a{x=\"1\"} 1\na 2\n"), ("2.prom", "b 1\na{y=\"1\"} 3\na{x=\"1\"} 9\n")]);
        let (lines, troubles) = folder.collect(&mut folder.collector(), |_| ());
        let want = [
            "node_textfile_scrape_error 0",
            "a{x=\"1\"} 1",
            "a{x=\"\"} 2",
            "a{x=\"\",y=\"1\"} 3",
            "a{x=\"1\",y=\"\"} 9",
            "b 1",
        ];
        assert_eq!(values(&lines), want);
        assert!(lines.contains(&"# HELP a Metric read from 1.prom, 2.prom".to_owned()), "{lines:?}");
        assert_eq!(troubles, Vec::<String>::new());
    }

    #[test]
    fn what_contradicts_an_earlier_file_is_left_out_and_told() {
        let folder = Folder::new(&[
            ("1.prom", "# HELP a One.\n# TYPE a gauge\na 1\n# TYPE h histogram\nh_count 1\n"),
            ("2.prom", "# HELP a Two.\n# TYPE a gauge\na{x=\"2\"} 1\n"),
            ("3.prom", "# HELP a One.\n# TYPE a gauge\na{x=\"3\"} 1\n"),
            ("4.prom", "# TYPE h counter\nh{x=\"4\"} 1\n"),
            ("5.prom", "h_count{x=\"5\"} 1\n"),
        ]);
        let (lines, troubles) = folder.collect(&mut folder.collector(), |_| ());
        let want = ["node_textfile_scrape_error 1", "a 1", "h_bucket{le=\"+Inf\"} 1", "h_sum 0", "h_count 1"];
        assert_eq!(values(&lines), want);
        assert_eq!(troubles.len(), 4, "{troubles:?}");
        assert!(troubles[0].starts_with("2.prom has another HELP for a than a file before it"), "{troubles:?}");
        assert!(troubles[3].starts_with("5.prom has h_count whose name is also that of a part of"), "{troubles:?}");
    }

    #[test]
    fn samples_join_the_family_of_a_collector_that_says_the_same_of_itself() {
        let text = "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n# HELP b Other.\nb 1\nc 1\n";
        let folder = Folder::new(&[("a.prom", text)]);
        let (lines, troubles) = folder.collect(&mut folder.collector(), |out| {
            out.family(&Family::gauge("a", "A.")).with(&Labels::new(&[("x", b"2")]), 7_u64);
            out.family(&Family::gauge("b", "B.")).put(7_u64);
        });
        let want = ["a{x=\"2\"} 7", "a{x=\"1\"} 1", "b 7", "node_textfile_scrape_error 0", "c 1"];
        assert_eq!(values(&lines), want);
        assert_eq!(troubles.len(), 2, "{troubles:?}");
        assert!(troubles[0].starts_with("text files have b with another HELP or TYPE"), "{troubles:?}");
        assert!(troubles[1].starts_with("text files have 1 samples of a that"), "{troubles:?}");
    }

    #[test]
    fn a_file_is_read_again_when_it_changes_and_only_then() {
        let folder = Folder::new(&[("a.prom", "a 1\n")]);
        let mut collector = folder.collector();
        assert_eq!(values(&folder.collect(&mut collector, |_| ()).0)[1], "a 1");
        folder.write("a.prom", "a 2\n");
        assert_eq!(values(&folder.collect(&mut collector, |_| ()).0)[1], "a 2", "just written, same size");
        let path = folder.0.path().join("a.prom");
        // What is kept is told from what is read by a content that the file does not have.
        let file = collector.files.get_mut(&path).expect("known");
        file.parsed.settle();
        file.parsed.content = Err("kept".into());
        assert_eq!(folder.collect(&mut collector, |_| ()).1, ["a.prom is left out: kept"]);
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::options().write(true).open(&path).expect("open").set_modified(later).expect("set");
        assert_eq!(values(&folder.collect(&mut collector, |_| ()).0)[1], "a 2");
        fs::remove_file(&path).expect("removed");
        assert_eq!(values(&folder.collect(&mut collector, |_| ()).0), ["node_textfile_scrape_error 0"]);
    }

    #[test]
    fn what_is_no_file_and_what_cannot_be_read_is_an_error_and_nothing_waits_for_a_fifo() {
        let folder = Folder::new(&[]);
        fs::create_dir(folder.0.path().join("a.prom")).expect("folder");
        nix::unistd::mkfifo(&folder.0.path().join("b.prom"), nix::sys::stat::Mode::S_IRWXU).expect("FIFO");
        std::os::unix::fs::symlink("nowhere", folder.0.path().join("c.prom")).expect("link");
        for at in 0..MOST_FAULTS {
            folder.write(&format!("d{at}.prom"), "x\n");
        }
        let (lines, troubles) = folder.collect(&mut folder.collector(), |_| ());
        assert_eq!(values(&lines), ["node_textfile_scrape_error 1"]);
        assert_eq!(troubles[..2], ["a.prom is left out: is no regular file", "b.prom is left out: is no regular file"]);
        assert!(troubles[2].starts_with("c.prom is left out: cannot be opened: No such file"), "{troubles:?}");
        assert_eq!(troubles.last().map(String::as_str), Some("3 more"));
        let mut none = Textfile::new(&Options { directories: vec!["/nonexistent/metrics".into()] });
        let (lines, troubles) = folder.collect(&mut none, |_| ());
        assert_eq!(values(&lines), ["node_textfile_scrape_error 1"]);
        assert!(troubles[0].starts_with("the folder /nonexistent/metrics cannot be read"), "{troubles:?}");
    }
}

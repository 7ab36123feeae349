/// The hours of records that say none.
mod hours;

use super::batch::Selection;
use super::http::again;
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use crate::logs::record::{Facts, Id};
use flate2::write::GzEncoder;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hostwright_core::bucket::{Bucket, Content, Put};
use hostwright_core::config::logs::output::archive::{self as config, Compression, PrefixPart};
use hours::Hours;
use jiff::{Timestamp, tz::TimeZone};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use tokio::task::block_in_place;

/// Objects that are stored at once: with many quiet files, a bucket far away takes most of its time to answer.
const AT_ONCE: usize = 8;
/// A file's own part of an object's name is no longer, so that keys are not either.
const NAME: usize = 100;

/// A bucket that takes the lines of each file as objects: JSON lines, compressed, written once.
///
/// An object is named after its first record. What is sent again after a crash begins where the last confirmed object
/// ended, as it did before, and so replaces what was stored of it.
#[derive(Debug)]
pub struct Archive {
    settings: config::Archive,
    origin: Origin,
    bucket: Bucket,
    hours: Hours,
}

/// Records of one content of a file and of one hour.
struct Segment<'a> {
    facts: &'a Facts,
    content: u64,
    /// Since 1970.
    hour: i64,
    /// Positions in the selection.
    items: Vec<usize>,
}

impl Archive {
    /// `place` is for what is to survive a restart, if anything is.
    ///
    /// # Errors
    /// The bucket's credentials are not to be had, or the state cannot be read.
    pub fn open(settings: &config::Archive, origin: &Origin, place: Option<&Path>) -> anyhow::Result<Self> {
        let bucket = Bucket::open(&settings.name, &settings.bucket)?;
        Ok(Self { settings: settings.clone(), origin: origin.clone(), bucket, hours: Hours::open(place)? })
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let hours = block_in_place(|| self.hours.of(items.batch));
        let hours = hours.map_err(|error| again(format!("{error} (lines wait in their files)"), None))?;
        let this = &*self;
        let mut rest = segments(items, &hours).into_iter();
        let mut storing: FuturesUnordered<_> =
            rest.by_ref().take(AT_ONCE).map(|segment| Box::pin(this.store(items, segment))).collect();
        let mut not_taken = Vec::new();
        while let Some(missing) = storing.next().await {
            not_taken.extend(missing);
            storing.extend(rest.next().map(|segment| Box::pin(this.store(items, segment))));
        }
        // What comes again is to be in order.
        not_taken.sort_unstable_by_key(|one| one.index);
        Ok(not_taken)
    }

    /// What of the segment was not stored: nothing, or all of it.
    async fn store(&self, items: Selection<'_>, segment: Segment<'_>) -> Vec<NotTaken> {
        let Err(why) = self.put(items, &segment).await else { return Vec::new() };
        segment.items.into_iter().map(|index| NotTaken { index, refused: false, why: why.clone() }).collect()
    }

    async fn put(&self, items: Selection<'_>, segment: &Segment<'_>) -> Result<(), String> {
        let Some(first) = segment.items.first().map(|&index| &items.batch.items[items.indices[index]]) else {
            return Ok(());
        };
        let id = Id { content: segment.content, offset: first.offset, check: 0 };
        let key = self.key(segment.facts, id, segment.hour);
        let in_memory =
            |error: io::Error| format!("cannot make an object of lines: {error} (lines wait in their files)");
        let (file, size) = block_in_place(|| self.compress(items, segment)).map_err(in_memory)?;
        let content = Content::read(file, size).await.map_err(in_memory)?;
        let put = Put::new(&key, &content);
        let upload = self.bucket.begin(put).await.map_err(|error| with_sources(&error))?;
        let stored = self.bucket.put(put, upload.as_deref()).await;
        if let (Err(_), Some(upload)) = (&stored, &upload) {
            // What is left of it is the bucket's to clear: nothing is missing for it.
            let _ = self.bucket.abort(&key, upload).await;
        }
        stored.map(drop).map_err(|error| with_sources(&error))
    }

    /// In memory: it is smaller by then than what it was made of.
    fn compress(&self, items: Selection<'_>, segment: &Segment<'_>) -> io::Result<(File, u64)> {
        let file = File::from(memfd_create(c"hostwright-logs", MFdFlags::MFD_CLOEXEC)?);
        let write = |out: &mut dyn Write| -> io::Result<()> {
            for &index in &segment.items {
                out.write_all(&items.batch.bytes[items.batch.range(items.indices[index])])?;
            }
            Ok(())
        };
        match self.settings.compress {
            Compression::Gzip => {
                let mut gzip = GzEncoder::new(&file, flate2::Compression::default());
                write(&mut gzip)?;
                gzip.finish()?;
            }
            Compression::Zstd => {
                let mut zstd = zstd::Encoder::new(&file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                write(&mut zstd)?;
                zstd.finish()?;
            }
        }
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    fn key(&self, facts: &Facts, id: Id, hour: i64) -> String {
        let time = Timestamp::from_second(hour.saturating_mul(3600)).unwrap_or_default().to_zoned(TimeZone::UTC);
        let mut key = String::new();
        for part in &self.settings.key.0 {
            match part {
                PrefixPart::Literal(text) => key.push_str(text),
                PrefixPart::Host => push_part(&mut key, &self.origin.host),
                PrefixPart::Label(name) => push_part(&mut key, self.origin.labels.get(name).map_or("", String::as_str)),
                PrefixPart::Source => push_part(&mut key, &facts.source),
                PrefixPart::Date(format) => key.push_str(&time.strftime(format).to_string()),
            }
        }
        let name = Path::new(&facts.file).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        push_part(&mut key, &name[..name.floor_char_boundary(NAME)]);
        let mut text = Vec::new();
        id.push_base64(&mut text);
        let ending = match self.settings.compress {
            Compression::Gzip => "gz",
            Compression::Zstd => "zst",
        };
        key.push_str(&format!("-{}.ndjson.{ending}", String::from_utf8_lossy(&text)));
        key
    }
}

/// A value as part of a key: no folders, nothing that anybody would have to escape.
fn push_part(key: &mut String, value: &str) {
    let fits = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    key.extend(value.chars().map(|c| if fits(c) { c } else { '_' }));
}

/// The selection by contents and hours, each in its order.
fn segments<'a>(items: Selection<'a>, hours: &[i64]) -> Vec<Segment<'a>> {
    let mut segments: Vec<Segment<'_>> = Vec::new();
    let mut known = HashMap::new();
    let mut at = 0;
    for (facts, share) in items.groups() {
        for index in at..at + share.len() {
            let item = items.indices[index];
            let (content, hour) = (items.batch.items[item].content, hours[item]);
            let segment = *known.entry((content, hour)).or_insert(segments.len());
            match segments.get_mut(segment) {
                Some(segment) => segment.items.push(index),
                None => segments.push(Segment { facts, content, hour, items: vec![index] }),
            }
        }
        at += share.len();
    }
    segments
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text + " (lines wait in their files)"
}

#[cfg(test)]
mod tests {
    use super::{Archive, Id, Origin};
    use crate::logs::output::request::batch::{Batch, Group, Item, Selection};
    use crate::logs::record::Facts;
    use flate2::read::GzDecoder;
    use hostwright_core::config::buckets::Bucket;
    use hostwright_core::config::logs::output::archive::{self as config, Compression, Prefix, PrefixPart};
    use std::io::Read;
    use std::path::Path;
    use std::sync::Arc;

    fn archive(folder: &Path, compress: Compression) -> Archive {
        let key = Prefix(vec![PrefixPart::Source, PrefixPart::Literal("/".into()), PrefixPart::Date("%Y-%m-%d/%H/")]);
        let settings = config::Archive { name: "b".into(), bucket: Bucket::Folder(folder.into()), key, compress };
        let origin = Origin { host: "h".into(), labels: [].into() };
        Archive::open(&settings, &origin, Some(&folder.join(".hours.json"))).expect("a folder needs no credentials")
    }

    /// Lines of two files in turns.
    fn batch() -> Batch {
        let item = |end, content, offset| Item {
            is_dated: true,
            end,
            time: 1_795_169_472_000_000_000,
            content,
            offset,
            length: 2,
        };
        let facts = |file: &str| Arc::new(Facts { source: "s".into(), file: file.into(), ..Facts::default() });
        let (x, y) = (facts("/var/log/x y.json"), facts("/var/log/y"));
        Batch {
            bytes: b"a\nbb\nccc\nd\n".to_vec().into(),
            items: vec![item(2, 1, 10), item(5, 2, 0), item(9, 1, 12), item(11, 2, 3)],
            groups: vec![
                Group { facts: x.clone(), items: 0..1 },
                Group { facts: y.clone(), items: 1..2 },
                Group { facts: x, items: 2..3 },
                Group { facts: y, items: 3..4 },
            ],
        }
    }

    fn id(content: u64, offset: u64) -> String {
        let mut text = Vec::new();
        Id { content, offset, check: 0 }.push_base64(&mut text);
        String::from_utf8(text).expect("text")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_file_gets_an_object_that_is_named_after_its_first_record_and_written_over_when_it_comes_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let batch = batch();
        let mut archive = archive(folder.path(), Compression::Gzip);
        for indices in [&[0, 1][..], &[0, 1, 2, 3]] {
            assert_eq!(archive.deliver(Selection { batch: &batch, indices }).await, Ok(Vec::new()));
        }
        let hour = folder.path().join("s/2026-11-20/10");
        assert_eq!(std::fs::read_dir(&hour).expect("objects").count(), 2);
        for (name, expected) in
            [(format!("x_y.json-{}", id(1, 10)), "a\nccc\n"), (format!("y-{}", id(2, 0)), "bb\nd\n")]
        {
            let mut text = String::new();
            let object = std::fs::File::open(hour.join(format!("{name}.ndjson.gz"))).expect("there");
            GzDecoder::new(object).read_to_string(&mut text).expect("gzip");
            assert_eq!(text, expected);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_of_several_hours_has_an_object_for_each_and_undated_lines_keep_theirs_after_a_kill() {
        const HOUR: i64 = 3_600_000_000_000;
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut batch = batch();
        // The file x: undated, and of the next hour; the file y: undated, undated.
        batch.items[2].time += HOUR;
        for (item, dated) in batch.items.iter_mut().zip([false, false, true, false]) {
            item.is_dated = dated;
        }
        for later in [0, 1, 5] {
            let mut read_again = batch.clone();
            for item in read_again.items.iter_mut().filter(|item| !item.is_dated) {
                item.time += later * HOUR;
            }
            // Opened anew, as after a kill.
            let all = Selection { batch: &read_again, indices: &[0, 1, 2, 3] };
            assert_eq!(archive(folder.path(), Compression::Gzip).deliver(all).await, Ok(Vec::new()));
        }
        let names = |hour: &str| {
            let entries = std::fs::read_dir(folder.path().join("s/2026-11-20").join(hour)).expect("an hour");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names("10"), [format!("x_y.json-{}.ndjson.gz", id(1, 10)), format!("y-{}.ndjson.gz", id(2, 0))]);
        assert_eq!(names("11"), [format!("x_y.json-{}.ndjson.gz", id(1, 12))]);
        assert_eq!(std::fs::read_dir(folder.path().join("s/2026-11-20")).expect("a day").count(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn zstd_objects_are_zstd() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let batch = batch();
        let mut archive = archive(folder.path(), Compression::Zstd);
        assert_eq!(archive.deliver(Selection { batch: &batch, indices: &[3] }).await, Ok(Vec::new()));
        let object = folder.path().join(format!("s/2026-11-20/10/y-{}.ndjson.zst", id(2, 3)));
        let bytes = std::fs::read(object).expect("there");
        assert_eq!(zstd::decode_all(&bytes[..]).expect("zstd"), b"d\n");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_bucket_does_not_take_comes_again_and_the_rest_does_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        // Folders where the objects are to be.
        let hour = folder.path().join("s/2026-11-20/10");
        let blocked = hour.join(format!("y-{}.ndjson.gz", id(2, 0)));
        let blocked_too = hour.join(format!("x_y.json-{}.ndjson.gz", id(1, 10)));
        std::fs::create_dir_all(blocked.join("x")).expect("made");
        std::fs::create_dir_all(blocked_too.join("x")).expect("made");
        let batch = batch();
        let mut archive = archive(folder.path(), Compression::Gzip);
        let all = Selection { batch: &batch, indices: &[0, 1, 2, 3] };
        let not_taken = archive.deliver(all).await.expect("answers");
        assert_eq!(not_taken.iter().map(|one| one.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        std::fs::remove_dir_all(blocked_too).expect("removed");
        let not_taken = archive.deliver(all).await.expect("answers");
        assert_eq!(not_taken.iter().map(|one| (one.index, one.refused)).collect::<Vec<_>>(), [(1, false), (3, false)]);
        assert!(not_taken[0].why.contains("y-"), "{}", not_taken[0].why);
    }
}

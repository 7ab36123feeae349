use crate::encode::Labels;
use crate::sample::kernel_file::lines;
use crate::sample::sysfs::{Attribute, Devices, Entry, Page, Texts, malformed};
use crate::sample::{CollectError, number, words};
use std::io;
use std::path::{Path, PathBuf};

/// Families of numbers; what a number is of stands in its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    BtreeCache,
    BtreeWrites,
    BtreeWriteSize,
    Compressed,
    Uncompressed,
    Errors,
    BucketSize,
    Buckets,
    Durability,
    IoDone,
    IoErrors,
}

/// One file system.
pub struct Filesystem {
    path: PathBuf,
    uuid: Vec<u8>,
    labels: Labels,
    files: [(Attribute, Parse); 4],
    counters: Devices<Counter>,
    devices: Devices<Device>,
    values: Values,
}

struct Counter {
    name: Vec<u8>,
    labels: Labels,
    file: Attribute,
    value: f64,
}

struct Device {
    /// Its labels beside what is counted.
    names: [(&'static str, Vec<u8>); 2],
    info: Texts,
    numbers: [(Attribute, Measure); 3],
    lists: [(Attribute, Parse); 2],
    values: Values,
}

/// Reads a file's text; none where it is not of its form.
type Parse = fn(&[u8], &mut Sink<'_>) -> Option<()>;

/// What was read, with labels that stay where the same is read again.
#[derive(Default)]
struct Values {
    all: Vec<Value>,
    used: usize,
}

struct Value {
    measure: Measure,
    /// Labels of its own, beside those of the file system or device.
    own: Vec<(&'static str, Vec<u8>)>,
    labels: Labels,
    value: f64,
}

/// Where a text's numbers go.
struct Sink<'v> {
    values: &'v mut Values,
    names: &'v [(&'static str, Vec<u8>)],
}

impl Sink<'_> {
    fn put(&mut self, measure: Measure, own: &[(&'static str, &[u8])], value: f64) {
        let values = &mut *self.values;
        let is_same = |known: &Value| {
            let names = known.own.iter().map(|(label, text)| (*label, &text[..]));
            known.measure == measure && names.eq(own.iter().copied())
        };
        if !values.all.get(values.used).is_some_and(is_same) {
            values.all.truncate(values.used);
            let mut pairs: Vec<(&str, &[u8])> = self.names.iter().map(|(label, text)| (*label, &text[..])).collect();
            pairs.extend_from_slice(own);
            pairs.sort_by_key(|(label, _)| *label);
            let own = own.iter().map(|(label, text)| (*label, text.to_vec())).collect();
            values.all.push(Value { measure, own, labels: Labels::new(&pairs), value });
        }
        values.all[values.used].value = value;
        values.used += 1;
    }
}

impl Values {
    fn of(&self, measure: Measure) -> impl Iterator<Item = (&Labels, f64)> {
        let all = self.all[..self.used].iter().filter(move |one| one.measure == measure);
        all.map(|one| (&one.labels, one.value))
    }
}

impl Filesystem {
    pub fn new(path: &Path, uuid: &[u8]) -> Self {
        let file = |name: &str, parse: Parse| (Attribute::new(path.join(name)), parse);
        Self {
            labels: Labels::new(&[("uuid", uuid)]),
            files: [
                file("btree_cache_size", btree_cache),
                file("compression_stats", compression),
                file("errors", errors),
                file("btree_write_stats", btree_writes),
            ],
            counters: Devices::new(path.join("counters")),
            devices: Devices::new(path.to_owned()),
            values: Values::default(),
            path: path.to_owned(),
            uuid: uuid.to_vec(),
        }
    }

    pub fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.values.used = 0;
        let names = [("uuid", self.uuid.clone())];
        let mut sink = Sink { values: &mut self.values, names: &names };
        // A kernel that does not tell the size has one of 0 in the original.
        if !self.path.join("btree_cache_size").exists() {
            sink.put(Measure::BtreeCache, &[], 0.0);
        }
        self.files.iter_mut().try_for_each(|(file, parse)| read(file, page, *parse, &mut sink))?;
        self.read_counters(page)?;
        let uuid = &self.uuid;
        self.devices.refresh(
            |entry| entry.is_folder() && entry.name.starts_with(b"dev-"),
            |path, name| Device::new(path, &name[b"dev-".len()..], uuid),
        )?;
        self.devices.iter_mut().try_for_each(|device| device.read(page))
    }

    fn read_counters(&mut self, page: &mut Page) -> Result<(), CollectError> {
        let labels = &self.labels;
        let find = |path: &Path, name: &[u8]| Counter {
            name: name.to_vec(),
            labels: labels.clone(),
            file: Attribute::new(path.to_owned()),
            value: 0.0,
        };
        match self.counters.refresh(|entry| !Entry::is_folder(entry), find) {
            Err(CollectError::NoData { .. }) => return Ok(()),
            found => found?,
        };
        for counter in self.counters.iter_mut() {
            let text = match counter.file.read_whole(page) {
                Ok(text) => text,
                Err(source) => return Err(CollectError::reading(counter.file.path(), source)),
            };
            let wrong = || malformed(counter.file.path(), "counts since mount and since creation", text);
            counter.value = since_creation(text).ok_or_else(wrong)?;
        }
        Ok(())
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    pub fn values(&self, measure: Measure) -> impl Iterator<Item = (&Labels, f64)> {
        self.values.of(measure).chain(self.devices.iter().flat_map(move |device| device.values.of(measure)))
    }

    pub fn counters(&self) -> impl Iterator<Item = (&[u8], &Labels, f64)> {
        self.counters.iter().map(|counter| (&counter.name[..], &counter.labels, counter.value))
    }

    pub fn device_infos(&self) -> impl Iterator<Item = &Labels> {
        self.devices.iter().map(|device| device.info.labels())
    }
}

impl Device {
    fn new(path: &Path, name: &[u8], uuid: &[u8]) -> Self {
        let file = |name: &str| Attribute::new(path.join(name));
        Self {
            names: [("device", name.to_vec()), ("uuid", uuid.to_vec())],
            info: Texts::new(&[("device", name), ("uuid", uuid)])
                .with("label", file("label"))
                .with("state", file("state")),
            numbers: [
                (file("bucket_size"), Measure::BucketSize),
                (file("nbuckets"), Measure::Buckets),
                (file("durability"), Measure::Durability),
            ],
            lists: [(file("io_done"), io_done), (file("io_errors"), io_errors)],
            values: Values::default(),
        }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.info.read(page);
        self.values.used = 0;
        let mut sink = Sink { values: &mut self.values, names: &self.names };
        for (file, measure) in &mut self.numbers {
            let is_size = *measure == Measure::BucketSize;
            let value = match file.read(page) {
                // What is not told is 0 in the original.
                Err(_) => 0.0,
                Ok(b"") if is_size => 0.0,
                Ok(text) => {
                    let value = if is_size { size(text) } else { number(text).map(|number| number as f64) };
                    value.ok_or_else(|| malformed(file.path(), "a number", text))?
                }
            };
            sink.put(*measure, &[], value);
        }
        self.lists.iter_mut().try_for_each(|(file, parse)| read(file, page, *parse, &mut sink))
    }
}

/// Reads a file that need not be there.
fn read(file: &mut Attribute, page: &mut Page, parse: Parse, sink: &mut Sink<'_>) -> Result<(), CollectError> {
    match file.read_whole(page) {
        Ok(text) => parse(text, sink).ok_or_else(|| malformed(file.path(), "names and numbers", text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CollectError::reading(file.path(), source)),
    }
}

/// The kernel's short form of a number: `1.5k`.
fn size(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let (last, rest) = text.split_last()?;
    let power = b"kmgtpe".iter().position(|unit| *unit == last.to_ascii_lowercase());
    let (number, unit) = match power {
        Some(power) => (rest.trim_ascii(), 1024_f64.powi(power as i32 + 1)),
        None => (text, 1.0),
    };
    Some((std::str::from_utf8(number).ok()?.parse::<f64>().ok()? * unit).trunc())
}

fn btree_cache(text: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let size = if text.trim_ascii().is_empty() { 0.0 } else { size(text)? };
    sink.put(Measure::BtreeCache, &[], size);
    Some(())
}

/// `zstd:  5.30G  2.87G  52.0k` below a line of headings.
fn compression(text: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    for line in lines(text).skip(1) {
        let mut parts = words(line);
        let (Some(name), Some(compressed), Some(plain)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let name = name.strip_suffix(b":").unwrap_or(name);
        if let Some(extent) = parts.next() {
            size(extent)?;
        }
        sink.put(Measure::Compressed, &[("algorithm", name)], size(compressed)?);
        sink.put(Measure::Uncompressed, &[("algorithm", name)], size(plain)?);
    }
    Some(())
}

/// `btree_node_read_err  5  1234567890`.
fn errors(text: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    for line in lines(text) {
        let mut parts = words(line);
        let (Some(name), Some(count)) = (parts.next(), parts.next()) else { continue };
        if let Some(time) = parts.next() {
            number(time)?;
        }
        sink.put(Measure::Errors, &[("error_type", name)], number(count)? as f64);
    }
    Some(())
}

/// `initial:  19088  108k` below a line of headings.
fn btree_writes(text: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    for line in lines(text).skip(1) {
        let mut parts = words(line);
        let (Some(name), Some(count), Some(average)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let label = [("type", name.strip_suffix(b":").unwrap_or(name))];
        sink.put(Measure::BtreeWrites, &label, number(count)? as f64);
        sink.put(Measure::BtreeWriteSize, &label, size(average)?);
    }
    Some(())
}

/// `since filesystem creation:  1.2M`; none where neither line is there.
fn since_creation(text: &[u8]) -> Option<f64> {
    let (mut created, mut mounted) = (None, false);
    for line in lines(text) {
        if let Some(rest) = line.strip_prefix(b"since filesystem creation:") {
            created = Some(size(rest)?);
        } else if let Some(rest) = line.strip_prefix(b"since mount:") {
            size(rest)?;
            mounted = true;
        }
    }
    created.or(mounted.then_some(0.0))
}

/// `read:` or `write:`, and below it `user  :  4096`.
fn io_done(text: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let mut operation = None;
    for line in lines(text).map(<[u8]>::trim_ascii) {
        match (line, operation) {
            (b"read:", _) => operation = Some(&b"read"[..]),
            (b"write:", _) => operation = Some(&b"write"[..]),
            (_, Some(operation)) => {
                let Some(colon) = memchr::memchr(b':', line) else { continue };
                let (kind, count) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
                let labels = [("data_type", kind), ("operation", operation)];
                sink.put(Measure::IoDone, &labels, number(count)? as f64);
            }
            _ => {}
        }
    }
    Some(())
}

/// `read:  5` below the line that says that it is since the creation, up to the next such line.
fn io_errors(text: &[u8], sink: &mut Sink<'_>) -> Option<()> {
    let after = lines(text).skip_while(|line| !line.starts_with(b"IO errors since filesystem creation"));
    for line in after.skip(1) {
        if line.starts_with(b"IO errors since filesystem creation") {
            continue;
        }
        if line.starts_with(b"IO errors since ") {
            break;
        }
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (kind, count) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        sink.put(Measure::IoErrors, &[("type", kind)], number(count)? as f64);
    }
    Some(())
}

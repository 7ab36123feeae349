//! A receiver of Prometheus' remote-write protocol, of version 1.0, 2.0 or both, from the two specifications.
//!
//! It takes no byte that it does not know, and minds labels that are not sorted, samples that come twice or too late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use super::http_server::{HttpServer, Reply, Request};
use super::protobuf::{Value, fields, packed};

/// Says that a series has ended.
pub const STALE: u64 = 0x7ff0_0000_0000_0002;
const OF_V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// Which versions it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    Both,
    /// And says 415 to any other.
    V1,
    /// And takes any other for an empty message of its own, as Prometheus 2.42 does.
    V1WithoutLooking,
}

pub type Labels = BTreeMap<String, String>;

/// What the receiver keeps.
#[derive(Debug, Default)]
pub struct Kept {
    /// Time in milliseconds and the value's bits, as they came.
    pub series: BTreeMap<Labels, Vec<(i64, u64)>>,
    /// By the family's name: the number of its type, and its help.
    pub metadata: BTreeMap<String, (u64, String)>,
    /// Samples in each request that was taken.
    pub requests: Vec<usize>,
    /// Versions, as they changed.
    pub versions: Vec<&'static str>,
    /// What no sender may do.
    pub problems: Vec<String>,
    /// More samples in a request are too large.
    pub most: Option<usize>,
}

pub struct RemoteWriteReceiver {
    pub server: HttpServer,
    kept: Arc<Mutex<Kept>>,
}

impl RemoteWriteReceiver {
    pub fn start(knows: Knows) -> Result<Self> {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = kept.clone();
        let server = HttpServer::start(move |request| {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut kept, knows, request).unwrap_or_else(|problem| {
                kept.problems.push(format!("{problem:#}"));
                Reply::new(400, format!("{problem:#}"))
            })
        })?;
        Ok(Self { server, kept })
    }

    pub fn url(&self) -> String {
        format!("{}/api/v1/write", self.server.url())
    }

    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The samples of the only series of that name.
    pub fn of(&self, name: &str) -> Result<Vec<(i64, u64)>> {
        let kept = self.kept();
        let mut series = kept.series.iter().filter(|(labels, _)| labels["__name__"] == name);
        let (_, samples) = series.next().with_context(|| format!("there is no {name}"))?;
        ensure!(series.next().is_none(), "there is more than one {name}");
        Ok(samples.clone())
    }

    /// An error that names what the sender did that none may do.
    pub fn check(&self) -> Result<()> {
        let kept = self.kept();
        ensure!(kept.problems.is_empty(), "{}", kept.problems.join("\n"));
        Ok(())
    }
}

/// One series of a message.
struct Series {
    labels: Labels,
    samples: Vec<(i64, u64)>,
}

fn answer(kept: &mut Kept, knows: Knows, request: &Request) -> Result<Reply> {
    ensure!((request.method.as_str(), request.path.as_str()) == ("POST", "/api/v1/write"), "404 page not found");
    ensure!(request.header("content-encoding") == Some("snappy"), "not snappy");
    ensure!(request.header("user-agent").is_some_and(|agent| agent.starts_with("hostwright-agent/")), "no user agent");
    let version = request.header("x-prometheus-remote-write-version").context("no version")?;
    let message = snap::raw::Decoder::new().decompress_vec(&request.body).context("not a block of snappy")?;
    let (name, (all, metadata)) = match (request.header("content-type"), version) {
        (Some(OF_V2), "2.0.0") => match knows {
            Knows::Both => ("2.0", read_v2(&message)?),
            Knows::V1 => return Ok(Reply::new(415, "prometheus.WriteRequest alone is taken here")),
            Knows::V1WithoutLooking => return Ok(Reply::new(204, "")),
        },
        (Some("application/x-protobuf"), "0.1.0") => ("1.0", read_v1(&message)?),
        other => bail!("content type and version do not go together: {other:?}"),
    };
    let count = all.iter().map(|series| series.samples.len()).sum();
    if kept.most.is_some_and(|most| count > most) {
        return Ok(Reply::new(413, "too large"));
    }
    if kept.versions.last() != Some(&name) {
        kept.versions.push(name);
    }
    kept.requests.push(count);
    kept.metadata.extend(metadata);
    for series in all {
        keep(kept, series)?;
    }
    let mut reply = Reply::new(204, "");
    if name == "2.0" {
        for (of, count) in [("Samples", count), ("Histograms", 0), ("Exemplars", 0)] {
            reply.headers.push((format!("X-Prometheus-Remote-Write-{of}-Written"), count.to_string()));
        }
    }
    Ok(reply)
}

fn keep(kept: &mut Kept, series: Series) -> Result<()> {
    let known = kept.series.entry(series.labels.clone()).or_default();
    for sample in series.samples {
        if let Some(last) = known.last() {
            ensure!(sample.0 != last.0, "{:?} comes twice at {}", series.labels, sample.0);
            ensure!(sample.0 > last.0, "{:?} comes at {} after {}", series.labels, sample.0, last.0);
        }
        known.push(sample);
    }
    Ok(())
}

type Metadata = BTreeMap<String, (u64, String)>;

/// prometheus.WriteRequest
fn read_v1(message: &[u8]) -> Result<(Vec<Series>, Metadata)> {
    let (mut all, mut metadata) = (Vec::new(), Metadata::new());
    for field in fields(message)? {
        match field {
            (1, Value::Bytes(series)) => {
                let (mut labels, mut samples) = (Vec::new(), Vec::new());
                for field in fields(series)? {
                    match field {
                        (1, Value::Bytes(label)) => labels.push(read_label(label)?),
                        (2, Value::Bytes(sample)) => samples.push(read_sample(sample)?),
                        (field, _) => bail!("TimeSeries has no field {field} of this kind"),
                    }
                }
                ensure!(!samples.is_empty(), "a series without samples");
                all.push(Series { labels: checked(labels)?, samples });
            }
            (3, Value::Bytes(family)) => {
                let (mut kind, mut name, mut help) = (0, String::new(), String::new());
                for field in fields(family)? {
                    match field {
                        (1, Value::Number(number)) => kind = number,
                        (2, Value::Bytes(text)) => name = text_of(text)?,
                        (4, Value::Bytes(text)) => help = text_of(text)?,
                        (field, _) => bail!("MetricMetadata has no field {field} of this kind"),
                    }
                }
                ensure!(kind <= 7 && !name.is_empty(), "metadata of the type {kind} for {name:?}");
                metadata.insert(name, (kind, help));
            }
            (field, _) => bail!("WriteRequest has no field {field} of this kind"),
        }
    }
    Ok((all, metadata))
}

fn read_label(label: &[u8]) -> Result<(String, String)> {
    let (mut name, mut value) = (String::new(), String::new());
    for field in fields(label)? {
        match field {
            (1, Value::Bytes(text)) => name = text_of(text)?,
            (2, Value::Bytes(text)) => value = text_of(text)?,
            (field, _) => bail!("Label has no field {field} of this kind"),
        }
    }
    Ok((name, value))
}

fn read_sample(sample: &[u8]) -> Result<(i64, u64)> {
    let (mut time, mut value) = (0, 0);
    for field in fields(sample)? {
        match field {
            (1, Value::Fixed64(bits)) => value = bits,
            (2, Value::Number(number)) => time = number.cast_signed(),
            (field, _) => bail!("Sample has no field {field} of this kind"),
        }
    }
    let is_number = !f64::from_bits(value).is_nan() || value == STALE || value == 0x7ff8_0000_0000_0001;
    ensure!(time > 0 && is_number, "a sample of {value:#x} at {time}");
    Ok((time, value))
}

/// io.prometheus.write.v2.Request
fn read_v2(message: &[u8]) -> Result<(Vec<Series>, Metadata)> {
    let (mut symbols, mut all, mut metadata) = (Vec::new(), Vec::new(), Metadata::new());
    let parts = fields(message)?;
    for part in &parts {
        match part {
            (4, Value::Bytes(text)) => symbols.push(text_of(text)?),
            (5, Value::Bytes(_)) => {}
            (field, _) => bail!("Request has no field {field} of this kind"),
        }
    }
    ensure!(symbols.first().is_some_and(String::is_empty), "the first symbol is not the empty text");
    let mut once = symbols.clone();
    once.sort();
    once.dedup();
    ensure!(once.len() == symbols.len(), "a symbol is there twice");
    let symbol = |at: u64| -> Result<String> {
        symbols.get(usize::try_from(at)?).cloned().with_context(|| format!("there is no symbol {at}"))
    };
    for part in &parts {
        let (5, Value::Bytes(series)) = part else { continue };
        let (series, family) = read_series_v2(series, &symbol)?;
        if let Some(family) = family {
            metadata.insert(series.labels["__name__"].clone(), family);
        }
        all.push(series);
    }
    Ok((all, metadata))
}

fn read_series_v2(series: &[u8], symbol: &impl Fn(u64) -> Result<String>) -> Result<(Series, Option<(u64, String)>)> {
    let (mut labels, mut samples, mut family) = (Vec::new(), Vec::new(), None);
    for field in fields(series)? {
        match field {
            (1, Value::Bytes(refs)) => {
                let refs = packed(refs)?;
                ensure!(refs.len().is_multiple_of(2), "an odd number of references");
                for pair in refs.chunks(2) {
                    labels.push((symbol(pair[0])?, symbol(pair[1])?));
                }
            }
            (2, Value::Bytes(sample)) => samples.push(read_sample(sample)?),
            (5, Value::Bytes(metadata)) => {
                let (mut kind, mut help) = (0, String::new());
                for field in fields(metadata)? {
                    match field {
                        (1, Value::Number(number)) => kind = number,
                        (3, Value::Number(at)) => help = symbol(at)?,
                        (field, _) => bail!("Metadata has no field {field} of this kind"),
                    }
                }
                ensure!(kind <= 7, "a type {kind}");
                family = Some((kind, help));
            }
            (field, _) => bail!("TimeSeries has no field {field} of this kind"),
        }
    }
    ensure!(!samples.is_empty(), "a series without samples");
    Ok((Series { labels: checked(labels)?, samples }, family))
}

/// The rules of "Series Labels", the same in both versions.
fn checked(labels: Vec<(String, String)>) -> Result<Labels> {
    ensure!(labels.is_sorted_by(|(a, _), (b, _)| a < b), "labels are not sorted, or one is there twice: {labels:?}");
    ensure!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "an empty label: {labels:?}");
    let labels: Labels = labels.into_iter().collect();
    let name = labels.get("__name__").context("a series without a name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    ensure!(name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit()), "{name:?} is no name");
    ensure!(labels.keys().filter(|name| name.starts_with("__")).count() == 1, "reserved labels: {labels:?}");
    Ok(labels)
}

fn text_of(bytes: &[u8]) -> Result<String> {
    Ok(std::str::from_utf8(bytes)?.to_owned())
}

//! Grafana Loki 3 as far as `/loki/api/v1/push` with protobuf goes, from its HTTP API, push.proto and default limits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use super::http_server::{HttpServer, Reply, Request};
use super::protobuf::{Value, fields};

/// limits_config: max_line_size
const LONGEST_LINE: usize = 256 << 10;
/// limits_config: max_label_names_per_series
const MOST_LABELS: usize = 15;
/// limits_config: max_label_value_length
const LONGEST_VALUE: usize = 2048;
/// Entries may be so much older than the newest one of their stream: half of ingester's max_chunk_age.
const WINDOW: i128 = 3600 * 1_000_000_000;

/// How it is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Asks for X-Scope-OrgID and for this value.
    pub tenant: Option<String>,
    /// limits_config: allow_structured_metadata is false.
    pub refuses_structured_metadata: bool,
    /// What is older is refused (limits_config: reject_old_samples_max_age), in nanoseconds since 1970.
    pub oldest: Option<i128>,
    /// What is newer is refused (limits_config: creation_grace_period), in nanoseconds since 1970.
    pub newest: Option<i128>,
    /// limits_config: max_label_names_per_series, if it is not 15.
    pub most_labels: Option<usize>,
    /// limits_config: block_ingestion_until is in the future: 260 is answered.
    pub is_blocked: bool,
    /// No more bytes than this in a second, as they are when unpacked.
    pub most_bytes: Option<usize>,
}

pub type Labels = BTreeMap<String, String>;

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub nanoseconds: i128,
    pub line: String,
    pub metadata: Labels,
}

#[derive(Default)]
struct State {
    setup: Setup,
    streams: BTreeMap<Labels, Vec<Entry>>,
    /// Same time and same text are one.
    known: HashMap<Labels, HashSet<(i128, String)>>,
    duplicates: usize,
    violations: Vec<String>,
}

/// A platform that keeps entries by stream.
pub struct LokiPlatform {
    pub server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl LokiPlatform {
    pub fn start(setup: Setup) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { setup, ..State::default() }));
        let shared = state.clone();
        let server =
            HttpServer::start(move |request| shared.lock().unwrap_or_else(PoisonError::into_inner).answer(request))?;
        Ok(Self { server, state })
    }

    /// The entries of each stream in the order of their arrival.
    pub fn streams(&self) -> BTreeMap<Labels, Vec<Entry>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).streams.clone()
    }

    /// All entries.
    pub fn entries(&self) -> Vec<Entry> {
        self.streams().into_values().flatten().collect()
    }

    /// Entries that came with the time and text of another one, and are not kept.
    pub fn duplicates(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).duplicates
    }

    pub fn change(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).setup);
    }

    /// Fails if anything came in that is no push request.
    pub fn check(&self) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(state.violations.is_empty(), "{} violations: {:?}", state.violations.len(), state.violations.first());
        Ok(())
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        if let Some(tenant) = &self.setup.tenant
            && request.header("x-scope-orgid") != Some(tenant)
        {
            return Reply::new(401, "no org id\n");
        }
        if self.setup.is_blocked {
            return Reply::new(
                260,
                "ingestion blocked for user fake until '2027-01-01T00:00:00Z' with status code '260'",
            );
        }
        let length = snap::raw::decompress_len(&request.body).unwrap_or_default();
        if let Some(most) = self.setup.most_bytes.filter(|most| length > *most) {
            let said = format!(
                "Ingestion rate limit exceeded for user fake (limit: {most} bytes/sec) while attempting to ingest '9' lines totaling '{length}' bytes"
            );
            return Reply::new(429, said);
        }
        let streams = match push_request(request) {
            Ok(streams) => streams,
            Err(error) => {
                self.violations.push(format!("{error:#}"));
                return Reply::new(400, format!("{error:#}\n"));
            }
        };
        let mut complaints: BTreeMap<String, usize> = BTreeMap::new();
        for (labels, entries) in streams {
            if let Err(reason) = self.take_labels(&labels) {
                *complaints.entry(reason).or_default() += 1;
                continue;
            }
            let (count, mut ignored) = (entries.len(), 0);
            let mut of_stream = None;
            for entry in entries {
                if let Err(reason) = self.take(&labels, entry) {
                    ignored += 1;
                    match reason.contains("IGNORED") {
                        true => of_stream = Some(reason.replace("IGNORED", &format!("{ignored} out of {count}"))),
                        false => *complaints.entry(reason).or_default() += 1,
                    }
                }
            }
            // What the ingester says hides what the distributor found.
            if let Some(reason) = of_stream {
                complaints = BTreeMap::from([(reason, 1)]);
                break;
            }
        }
        // The good ones are kept all the same. (validation: GroupedErrors)
        let is_one = complaints.len() == 1 && complaints.values().all(|count| *count == 1);
        let all: Vec<_> = complaints
            .into_iter()
            .map(|(reason, count)| if is_one { reason } else { format!("{count} errors like: {reason}") })
            .collect();
        if all.is_empty() { Reply::new(204, Vec::new()) } else { Reply::new(400, all.join("; ")) }
    }

    fn take_labels(&self, labels: &Labels) -> Result<(), String> {
        let (most, count) = (self.setup.most_labels.unwrap_or(MOST_LABELS), labels.len());
        if count > most {
            return Err(format!("entry for stream '{}' has {count} label names; limit {most}", shown(labels)));
        }
        match labels.iter().find(|(_, value)| value.len() > LONGEST_VALUE) {
            Some((_, value)) => Err(format!("stream '{}' has label value too long: '{value}'", shown(labels))),
            None => Ok(()),
        }
    }

    fn take(&mut self, labels: &Labels, entry: Entry) -> Result<(), String> {
        let shown = || shown(labels);
        let at = |nanoseconds| jiff::Timestamp::from_nanosecond(nanoseconds).unwrap_or_default().strftime("%FT%TZ");
        let own = at(entry.nanoseconds);
        if self.setup.refuses_structured_metadata && !entry.metadata.is_empty() {
            return Err(format!(
                "stream '{}' includes structured metadata, but this feature is disallowed. Please see \
                 `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it.",
                shown()
            ));
        }
        if entry.line.len() > LONGEST_LINE {
            return Err(format!(
                "Max entry size '262144' bytes exceeded for stream '{}' while adding an entry with length '{}' bytes",
                shown(),
                entry.line.len()
            ));
        }
        if self.setup.newest.is_some_and(|newest| entry.nanoseconds > newest) {
            return Err(format!("entry for stream '{}' has timestamp too new: {own}", shown()));
        }
        if let Some(oldest) = self.setup.oldest.filter(|oldest| entry.nanoseconds < *oldest) {
            return Err(format!(
                "entry for stream '{}' has timestamp too old: {own}, oldest acceptable timestamp is: {}",
                shown(),
                at(oldest)
            ));
        }
        let stream = self.streams.entry(labels.clone()).or_default();
        let newest = stream.iter().map(|entry| entry.nanoseconds).max().unwrap_or(i128::MIN / 2);
        if entry.nanoseconds < newest - WINDOW {
            return Err(format!(
                "entry with timestamp {own} ignored, reason: 'entry too far behind, entry timestamp is: {own}, oldest \
                 acceptable timestamp is: {}',\nuser 'fake', total ignored: IGNORED for stream: {}",
                at(newest - WINDOW),
                shown()
            ));
        }
        let known = self.known.entry(labels.clone()).or_default();
        if known.insert((entry.nanoseconds, entry.line.clone())) {
            stream.push(entry);
        } else {
            self.duplicates += 1;
        }
        Ok(())
    }
}

fn shown(labels: &Labels) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}

fn push_request(request: &Request) -> Result<Vec<(Labels, Vec<Entry>)>> {
    ensure!((request.method.as_str(), request.path.as_str()) == ("POST", "/loki/api/v1/push"), "404 page not found");
    ensure!(request.header("content-type") == Some("application/x-protobuf"), "not protobuf");
    let body = snap::raw::Decoder::new().decompress_vec(&request.body).context("no block of snappy")?;
    let streams = fields(&body)?.into_iter().map(|(field, value)| match (field, value) {
        (1, Value::Bytes(stream)) => read_stream(stream),
        (field, _) => bail!("PushRequest has no field {field} of this kind"),
    });
    let streams: Vec<_> = streams.collect::<Result<_>>()?;
    ensure!(!streams.is_empty(), "a request without streams");
    Ok(streams)
}

fn read_stream(bytes: &[u8]) -> Result<(Labels, Vec<Entry>)> {
    let (mut labels, mut entries) = (None, Vec::new());
    for (field, value) in fields(bytes)? {
        match (field, value) {
            (1, Value::Bytes(text)) => labels = Some(read_labels(std::str::from_utf8(text)?)?),
            (2, Value::Bytes(entry)) => entries.push(read_entry(entry)?),
            (3, Value::Number(_)) => {}
            (field, _) => bail!("StreamAdapter has no field {field} of this kind"),
        }
    }
    let labels = labels.context("a stream without labels")?;
    ensure!(!labels.is_empty(), "error at least one label pair is required per stream");
    ensure!(!entries.is_empty(), "a stream without entries");
    Ok((labels, entries))
}

fn read_entry(bytes: &[u8]) -> Result<Entry> {
    let (mut nanoseconds, mut line, mut metadata) = (None, None, Labels::new());
    for (field, value) in fields(bytes)? {
        match (field, value) {
            (1, Value::Bytes(time)) => {
                let mut total = 0;
                for (field, value) in fields(time)? {
                    total += match (field, value) {
                        (1, Value::Number(seconds)) => i128::from(seconds.cast_signed()) * 1_000_000_000,
                        (2, Value::Number(rest)) if rest < 1_000_000_000 => i128::from(rest),
                        (field, _) => bail!("Timestamp has no field {field} of this kind"),
                    };
                }
                nanoseconds = Some(total);
            }
            (2, Value::Bytes(text)) => line = Some(std::str::from_utf8(text)?.to_owned()),
            (3, Value::Bytes(pair)) => {
                let (name, value) = read_pair(pair)?;
                ensure!(metadata.insert(name.clone(), value).is_none(), "the metadata {name} is there twice");
            }
            (field, _) => bail!("EntryAdapter has no field {field} of this kind"),
        }
    }
    Ok(Entry { nanoseconds: nanoseconds.context("an entry without time")?, line: line.unwrap_or_default(), metadata })
}

fn read_pair(bytes: &[u8]) -> Result<(String, String)> {
    let (mut name, mut text) = (String::new(), String::new());
    for (field, value) in fields(bytes)? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => name = String::from_utf8(bytes.to_vec())?,
            (2, Value::Bytes(bytes)) => text = String::from_utf8(bytes.to_vec())?,
            (field, _) => bail!("LabelPairAdapter has no field {field} of this kind"),
        }
    }
    ensure!(!name.is_empty(), "a label without a name");
    Ok((name, text))
}

/// `{name="value", …}` with Go's strings, of which JSON's are enough here.
fn read_labels(text: &str) -> Result<Labels> {
    let mut rest = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).context("labels without braces")?;
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').with_context(|| format!("no label: {rest}"))?;
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        ensure!(!name.is_empty() && name.chars().all(valid), "{name:?} is no label's name");
        let mut value = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let text = value.next().context("a label without a value")??;
        rest = &after[value.byte_offset()..];
        rest = rest.strip_prefix(", ").or_else(|| rest.strip_prefix(',')).unwrap_or(rest);
        ensure!(labels.insert(name.to_owned(), text).is_none(), "the label {name} is there twice");
    }
    Ok(labels)
}

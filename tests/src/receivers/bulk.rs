//! Elasticsearch 8 and OpenSearch 2 as far as `_bulk` goes, from the reference of the bulk API.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::http_server::{Fault, HttpServer, Reply, Request};

/// Keys of an action's line.
const METADATA: [&str; 9] = [
    "_index",
    "_id",
    "routing",
    "pipeline",
    "require_alias",
    "require_data_stream",
    "dynamic_templates",
    "if_seq_no",
    "list_executed_pipelines",
];

/// A platform that keeps documents by index and id.
pub struct BulkPlatform {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

/// How the platform is set up, and what a test wants to go wrong.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Names that are data streams: they take `create` alone, and documents with `@timestamp`.
    pub data_streams: BTreeSet<String>,
    /// Fields of type long; a document with another value there is refused.
    pub long_fields: BTreeSet<String>,
    /// Fields of type object, as `logs-*-*` and Filebeat's templates have them; a document with a value there is refused.
    pub object_fields: BTreeSet<String>,
    /// `index.mapping.total_fields.limit`, counted at the top.
    pub most_fields: Option<usize>,
    /// Pipelines that are there.
    pub pipelines: BTreeSet<String>,
    /// `Authorization` must be this.
    pub authorization: Option<String>,
    /// `http.max_content_length`
    pub most_bytes: Option<usize>,
    /// Each n-th item is answered with 429 the first time it comes.
    pub busy_every: Option<usize>,
    /// Takes no filter_path and repeats everything.
    pub ignores_filter: bool,
}

#[derive(Default)]
struct State {
    setup: Setup,
    documents: Vec<Document>,
    places: HashMap<(String, String), usize>,
    counted: usize,
    turned_away: BTreeSet<String>,
    conflicts: usize,
    refused: usize,
    requests: usize,
    bytes: usize,
    encoded_bytes: usize,
    violations: Vec<String>,
}

/// A document that is kept.
#[derive(Clone, Debug)]
pub struct Document {
    pub index: String,
    pub id: String,
    pub source: Value,
}

/// What came in, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: usize,
    pub documents: usize,
    /// Items whose id was there already.
    pub conflicts: usize,
    /// Items that were refused for good.
    pub refused: usize,
    /// Bytes of bodies.
    pub bytes: usize,
    /// The same as they were sent.
    pub encoded_bytes: usize,
}

impl BulkPlatform {
    pub fn start(setup: Setup) -> Result<Self> {
        let state = Arc::new(Mutex::new(State { setup, ..State::default() }));
        let shared = state.clone();
        let server = HttpServer::start(move |request| lock(&shared).answer(request))?;
        Ok(Self { server, state })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The next requests go wrong in these ways.
    pub fn order(&self, faults: impl IntoIterator<Item = Fault>) {
        self.server.order(faults);
    }

    pub fn outstanding_faults(&self) -> usize {
        self.server.outstanding_faults()
    }

    pub fn stop(&mut self) {
        self.server.stop();
    }

    pub fn start_again(&mut self) -> Result<()> {
        self.server.start_again()
    }

    pub fn change(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut lock(&self.state).setup);
    }

    /// In the order of arrival.
    pub fn documents(&self) -> Vec<Document> {
        lock(&self.state).documents.clone()
    }

    /// The values of a field in all documents, in the order of arrival.
    pub fn field(&self, name: &str) -> Vec<Value> {
        lock(&self.state).documents.iter().map(|document| document.source[name].clone()).collect()
    }

    pub fn counts(&self) -> Counts {
        let state = lock(&self.state);
        Counts {
            requests: state.requests,
            documents: state.documents.len(),
            conflicts: state.conflicts,
            refused: state.refused,
            bytes: state.bytes,
            encoded_bytes: state.encoded_bytes,
        }
    }

    /// Fails if anything came in that the specification forbids.
    pub fn check(&self) -> Result<()> {
        let state = lock(&self.state);
        ensure!(state.violations.is_empty(), "{} violations: {:?}", state.violations.len(), state.violations.first());
        Ok(())
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        self.requests += 1;
        if let Some(wanted) = &self.setup.authorization
            && request.header("authorization") != Some(wanted)
        {
            let error = json!({"type": "security_exception", "reason": "unable to authenticate user"});
            return Reply::json(401, &json!({"error": error, "status": 401}));
        }
        if self.setup.most_bytes.is_some_and(|most| request.encoded_length > most) {
            return Reply::new(413, Vec::new());
        }
        self.bytes += request.body.len();
        self.encoded_bytes += request.encoded_length;
        match self.bulk(request) {
            Ok(items) => {
                let errors = items.iter().any(|item| item["create"].get("error").is_some());
                let full = json!({"took": 1, "errors": errors, "items": items});
                let filter = request.query("filter_path").filter(|_| !self.setup.ignores_filter);
                let shown = match filter {
                    Some(filter) => {
                        let paths: Vec<Vec<&str>> = filter.split(',').map(|path| path.split('.').collect()).collect();
                        filtered(&full, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap_or(json!({}))
                    }
                    None => full,
                };
                Reply::json(200, &shown)
            }
            Err(reason) => {
                self.violations.push(reason.clone());
                let error = json!({"type": "illegal_argument_exception", "reason": reason});
                Reply::json(400, &json!({"error": error, "status": 400}))
            }
        }
    }

    fn bulk(&mut self, request: &Request) -> Result<Vec<Value>, String> {
        let parts: Vec<_> = request.path.split('/').skip(1).collect();
        let default = match parts[..] {
            ["_bulk"] => None,
            [index, "_bulk"] if !index.is_empty() => Some(index),
            _ => return Err(format!("no handler found for uri [{}]", request.path)),
        };
        if !["POST", "PUT"].contains(&request.method.as_str()) {
            return Err(format!("method [{}] is not allowed", request.method));
        }
        let content_type = request.header("content-type").unwrap_or_default();
        if !["application/x-ndjson", "application/json"].contains(&content_type) {
            return Err(format!("Content-Type header [{content_type}] is not supported"));
        }
        let Some(body) = request.body.strip_suffix(b"\n") else {
            return Err("The bulk request must be terminated by a newline [\\n]".into());
        };
        let mut lines = body.split(|byte| *byte == b'\n');
        let mut items = Vec::new();
        while let Some(action) = lines.next() {
            let metadata = metadata(action)?;
            let source = lines.next().ok_or("an action without its document")?;
            let index = metadata.get("_index").and_then(Value::as_str).or(default).ok_or("index is missing")?;
            let id = metadata.get("_id").and_then(Value::as_str);
            let pipeline = metadata.get("pipeline").and_then(Value::as_str).or(request.query("pipeline"));
            items.push(self.create(index, id, source, pipeline));
        }
        Ok(items)
    }

    fn create(&mut self, index: &str, id: Option<&str>, source: &[u8], pipeline: Option<&str>) -> Value {
        self.counted += 1;
        let id = id.map_or_else(|| format!("made-{}", self.counted), str::to_owned);
        let place = (index.to_owned(), id.clone());
        let (status, outcome) = match self.outcome(&place, source, pipeline) {
            Ok(document) => {
                self.places.insert(place, self.documents.len());
                self.documents.push(Document { index: index.to_owned(), id: id.clone(), source: document });
                (201, ("result", json!("created")))
            }
            Err((status, kind, reason)) => (status, ("error", json!({"type": kind, "reason": reason, "index": index}))),
        };
        let mut item = json!({"_index": index, "_id": id, "_version": 1, "status": status});
        item[outcome.0] = outcome.1;
        json!({"create": item})
    }

    fn outcome(
        &mut self,
        place: &(String, String),
        source: &[u8],
        pipeline: Option<&str>,
    ) -> Result<Value, (u16, &'static str, String)> {
        let turn = self.setup.busy_every.is_some_and(|every| self.counted.is_multiple_of(every));
        if turn && self.turned_away.insert(place.1.clone()) {
            return Err((
                429,
                "es_rejected_execution_exception",
                "rejected execution of coordinating operation".into(),
            ));
        }
        if let Some(pipeline) = pipeline.filter(|pipeline| !self.setup.pipelines.contains(*pipeline)) {
            let reason = format!("pipeline with id [{pipeline}] does not exist");
            return Err((400, "illegal_argument_exception", reason));
        }
        let refused = |reason: String| (400, "document_parsing_exception", reason);
        let document = self.document(&place.0, source).map_err(|reason| {
            self.refused += 1;
            refused(reason)
        })?;
        if let Some(there) = self.places.get(place) {
            self.conflicts += 1;
            // A line without a time of its own gets that of its reading: this alone may differ.
            if without_time(&self.documents[*there].source) != without_time(&document) {
                self.violations.push(format!("the id {} has two contents", place.1));
            }
            let reason = format!("[{}]: version conflict, document already exists (current version [1])", place.1);
            return Err((409, "version_conflict_engine_exception", reason));
        }
        Ok(document)
    }

    fn document(&self, index: &str, source: &[u8]) -> Result<Value, String> {
        let document = strict_object(source)?;
        if let Some(time) = document.get("@timestamp") {
            let is_date = time.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()) || time.is_i64();
            if !is_date {
                return Err(format!("failed to parse field [@timestamp] of type [date]: {time}"));
            }
        } else if self.setup.data_streams.contains(index) {
            return Err("data stream timestamp field [@timestamp] is missing".into());
        }
        let is_object = |field: &String| document.get(field).is_some_and(|v| !v.is_object() && !v.is_null());
        if let Some(field) = self.setup.object_fields.iter().find(|field| is_object(field)) {
            return Err(format!(
                "[1:9] object mapping for [{field}] tried to parse field [{field}] as object, but found a concrete value"
            ));
        }
        if let Some(most) = self.setup.most_fields.filter(|most| document.len() > *most) {
            return Err(format!(
                "[1:1] failed to parse: Limit of total fields [{most}] has been exceeded while adding new fields [1]"
            ));
        }
        let wrong = self.setup.long_fields.iter().find(|field| document.get(*field).is_some_and(|v| !v.is_i64()));
        match wrong {
            Some(field) => Err(format!("failed to parse field [{field}] of type [long]")),
            None => Ok(Value::Object(document)),
        }
    }
}

/// The one action of a line, which is `create`.
fn metadata(line: &[u8]) -> Result<Map<String, Value>, String> {
    let action = strict_object(line).map_err(|reason| format!("Malformed action/metadata line: {reason}"))?;
    let mut entries = action.into_iter();
    let (Some((name, Value::Object(metadata))), None) = (entries.next(), entries.next()) else {
        return Err("Malformed action/metadata line: expected one object".into());
    };
    if name != "create" {
        return Err(format!("the action is {name:?}: only create leaves what is there alone"));
    }
    if let Some(unknown) = metadata.keys().find(|key| !METADATA.contains(&key.as_str())) {
        return Err(format!("Action/metadata line contains an unknown parameter [{unknown}]"));
    }
    let id = metadata.get("_id").map(|id| id.as_str().unwrap_or_default());
    if id.is_some_and(|id| id.is_empty() || id.len() > 512) {
        return Err("an _id has between 1 and 512 bytes".into());
    }
    Ok(metadata)
}

/// A JSON object without two fields of one name, at any depth.
fn strict_object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err("not an object".into()),
        Err(error) => Err(format!("{error}: {}", String::from_utf8_lossy(text))),
    }
}

struct Strict(Value);

impl<'de> serde::Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Value;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Strict(value)) = items.next_element()? {
                    all.push(value);
                }
                Ok(all.into())
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut all = Map::new();
                while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
                    if all.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!("Duplicate field '{name}'")));
                    }
                    all.insert(name, value);
                }
                Ok(all.into())
            }
        }
        deserializer.deserialize_any(Any).map(Self)
    }
}

fn without_time(document: &Value) -> BTreeMap<&str, &Value> {
    let fields = document.as_object().into_iter().flatten().filter(|(name, _)| *name != "@timestamp");
    fields.map(|(name, value)| (name.as_str(), value)).collect()
}

/// What of an answer the paths name (common options, response filtering). An item of which nothing is left goes.
fn filtered(value: &Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(|item| filtered(item, paths)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(fields) => {
            let kept: Map<_, _> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let further = paths.iter().filter(|path| path[0] == "*" || path[0] == name).map(|path| &path[1..]);
                    let further: Vec<_> = further.collect();
                    Some((name.clone(), filtered(value, &further).filter(|_| !further.is_empty())?))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        _ => None,
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

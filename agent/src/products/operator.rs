use super::ask::{Ask, Desk, Pushed};
use super::verify::{Place, Report, verify};
use futures_util::future::join_all;
use hostwright_core::bucket::Bucket;
use hostwright_core::config::buckets::{self, Encryption};
use hostwright_duty::orders::Order;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// So many verifications are remembered for those who ask how they are.
const MOST_REMEMBERED: usize = 16;

/// Carries out what operators order: `push`, `state`, `verify`, `verified`.
#[derive(Debug)]
pub(super) struct Operator {
    desk: Desk,
    buckets: BTreeMap<String, buckets::Bucket>,
    /// Customers' keys by buckets.
    keys: BTreeMap<String, Encryption>,
    verifications: BTreeMap<u64, Arc<Mutex<Report>>>,
    started: u64,
}

impl Operator {
    pub(super) fn new(
        desk: Desk,
        buckets: BTreeMap<String, buckets::Bucket>,
        keys: BTreeMap<String, Encryption>,
    ) -> Self {
        Self { desk, buckets, keys, verifications: BTreeMap::new(), started: 0 }
    }

    /// Takes an order, which is answered from a task of its own.
    pub(super) fn take(&mut self, order: Order) {
        match order.verb.as_str() {
            "push" => self.push(order),
            "state" => self.state(order),
            "verify" => {
                let answer = self.verify(&order.arguments);
                order.answer(answer);
            }
            "verified" => {
                let answer = self.verified(&order.arguments);
                order.answer(answer);
            }
            verb => {
                let why = format!("products cannot {verb:?}; they can push, state, verify and verified");
                order.answer(Err(why));
            }
        }
    }

    fn push(&self, order: Order) {
        let desk = self.desk.clone();
        let path = order.arguments["path"].as_str().map(PathBuf::from);
        let only = order.arguments["product"].as_str().map(str::to_owned);
        tokio::spawn(async move {
            let answer = match path {
                Some(path) if path.is_absolute() => push(&desk, path, only.as_deref()).await,
                _ => Err("path: expected an absolute path".into()),
            };
            order.answer(answer);
        });
    }

    fn state(&self, order: Order) {
        let desk = self.desk.clone();
        tokio::spawn(async move {
            let text = |name: &str| order.arguments[name].as_str().unwrap_or_default().to_owned();
            let (product, path) = (text("product"), text("path"));
            let state = desk.ask(&product, |answer| Ask::State { path: path.clone(), answer }).await;
            let answer = state.ok_or_else(|| format!("there is no product {product:?}, or it does not answer"));
            order.answer(answer.map(|state| json!(Pushed { product, path, state })));
        });
    }

    fn verify(&mut self, arguments: &Value) -> Result<Value, String> {
        let prefix = arguments["prefix"].as_str().ok_or("prefix: expected a text")?.to_owned();
        let deep = arguments["deep"].as_bool().unwrap_or(false);
        let (name, settings) = self.bucket(arguments["bucket"].as_str())?;
        let bucket = Bucket::open(name, settings).map_err(|error| error.to_string())?;
        let encryption = self.keys.get(name).cloned();
        let report = Arc::new(Mutex::new(Report::default()));
        self.started += 1;
        self.verifications.insert(self.started, report.clone());
        while self.verifications.len() > MOST_REMEMBERED {
            self.verifications.pop_first();
        }
        let shown = bucket.place().to_owned();
        let place = Place { bucket, encryption, deep };
        tokio::spawn(async move { verify(&place, &prefix, &report).await });
        Ok(json!({"id": self.started, "bucket": shown}))
    }

    fn bucket(&self, name: Option<&str>) -> Result<(&String, &buckets::Bucket), String> {
        let names = || self.buckets.keys().cloned().collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => self
                .buckets
                .get_key_value(name)
                .ok_or_else(|| format!("there is no bucket {name:?}; there are {}", names())),
            None if self.buckets.len() == 1 => self.buckets.first_key_value().ok_or_else(String::new),
            None => Err(format!("say which bucket: --bucket with one of {}", names())),
        }
    }

    fn verified(&self, arguments: &Value) -> Result<Value, String> {
        let id = arguments["id"].as_u64().unwrap_or_default();
        let report = self.verifications.get(&id).ok_or("there is no such verification; did the agent start again?")?;
        Ok(json!(*report.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

async fn push(desk: &Desk, path: PathBuf, only: Option<&str>) -> Result<Value, String> {
    let all = desk.names();
    let mut names = all.clone();
    names.retain(|name| only.is_none_or(|only| only == name));
    if names.is_empty() {
        return Err(format!("there is no product {:?}; there are {}", only.unwrap_or_default(), all.join(", ")));
    }
    let asked = names.iter().map(async |name| {
        let path = desk.as_watched(name, &path).await;
        (name, desk.ask(name, |answer| Ask::Push { path, answer }).await)
    });
    let (mut pushed, mut silent) = (Vec::new(), Vec::new());
    for (name, answer) in join_all(asked).await {
        match answer {
            Some(products) => pushed.extend(products),
            None => silent.push(name.as_str()),
        }
    }
    if !pushed.is_empty() {
        return Ok(json!(pushed));
    }
    let shown = path.display();
    if !silent.is_empty() {
        return Err(format!("{} cannot be asked at present; see `hostwright-agent products`", silent.join(", ")));
    }
    if tokio::fs::symlink_metadata(&path).await.is_err_and(|e| e.kind() == ErrorKind::NotFound) {
        return Err(format!("there is nothing at {shown}"));
    }
    Err(match only {
        Some(only) => format!("{shown} is no product of {only}, and there are none in it"),
        None => format!("{shown} is no product of any folder that is watched, and there are none in it"),
    })
}

use super::output::resend::{Resend, What};
use super::output::{Origin, probe};
use hostwright_core::config::logs::Output;
use hostwright_duty::orders::Order;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Does what operators ask for: `test` and `resend`.
#[derive(Debug)]
pub struct Operator {
    pub outputs: BTreeMap<String, Output>,
    /// The sources' names.
    pub sources: Vec<String>,
    pub origin: Arc<Origin>,
    /// The outputs' loops.
    pub resends: BTreeMap<String, mpsc::Sender<Resend>>,
}

impl Operator {
    /// Begins with an order; the answer comes when it is done.
    pub fn take(&self, order: Order) {
        let done = match order.verb.as_str() {
            "test" => self.test(&order.arguments),
            "resend" => self.resend(&order.arguments),
            verb => Err(format!("the duty logs knows no {verb:?}; it knows test and resend")),
        };
        match done {
            Ok(doing) => drop(tokio::spawn(async move { order.answer(doing.await) })),
            Err(why) => order.answer(Err(why)),
        }
    }

    fn test(&self, arguments: &Value) -> Result<Doing, String> {
        let name = self.output_named(arguments)?.ok_or("which output? give its name")?;
        let (Some(output), origin) = (self.outputs.get(&name).cloned(), self.origin.clone()) else {
            return Err(format!("there is no output {name:?}"));
        };
        let text = arguments["line"].as_str().unwrap_or("a test of hostwright-agent").to_owned();
        Ok(Box::pin(async move { probe::probe(&output.platform, &origin, &text).await.map(Value::from) }))
    }

    fn resend(&self, arguments: &Value) -> Result<Doing, String> {
        let what = what(arguments)?;
        if let What::Since { source: Some(name), .. } = &what
            && !self.sources.contains(name)
        {
            return Err(format!("there is no source {name:?}; there are {}", self.sources.join(", ")));
        }
        let chosen = self.output_named(arguments)?;
        let mut answers = Vec::new();
        for (name, sender) in self.resends.iter().filter(|(name, _)| chosen.as_ref().is_none_or(|c| c == *name)) {
            let (answer, answered) = oneshot::channel();
            let resend = Resend { what: what.clone(), answer };
            sender.try_send(resend).map_err(|_| format!("output {name} is busy with an earlier order"))?;
            answers.push((name.clone(), answered));
        }
        Ok(Box::pin(async move {
            let mut report = serde_json::Map::new();
            for (name, answered) in answers {
                let resent = answered.await.map_err(|_| format!("output {name} ended meanwhile"))??;
                report.insert(name, json!({"files": resent.files, "bytes": resent.bytes}));
            }
            Ok(report.into())
        }))
    }

    fn output_named(&self, arguments: &Value) -> Result<Option<String>, String> {
        let Some(name) = arguments["output"].as_str() else { return Ok(None) };
        if self.outputs.contains_key(name) {
            return Ok(Some(name.to_owned()));
        }
        let names: Vec<_> = self.outputs.keys().map(String::as_str).collect();
        Err(format!("there is no output {name:?}; there are {}", names.join(", ")))
    }
}

fn what(arguments: &Value) -> Result<What, String> {
    if arguments["dead_letters"] == true {
        return Ok(What::DeadLetters);
    }
    let since = arguments["since"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let since = since.ok_or("since when? give an RFC 3339 time such as 2026-11-20T10:00:00Z")?;
    let since = i64::try_from(since.as_nanosecond()).unwrap_or(i64::MAX);
    Ok(What::Since { since, source: arguments["source"].as_str().map(str::to_owned) })
}

type Doing = std::pin::Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

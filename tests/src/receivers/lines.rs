//! Whatever takes lines with a POST: JSON lines, JSON arrays, or text.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;

use super::http_server::{HttpServer, Reply, Request};

/// What came in, in order: a JSON value for each line, or the line itself as a string where it is text.
#[derive(Default)]
struct Received {
    values: Vec<Value>,
    encodings: Vec<String>,
}

/// A server that keeps lines.
pub struct Lines {
    pub server: HttpServer,
    received: Arc<Mutex<Received>>,
}

impl Lines {
    pub fn start() -> Result<Self> {
        let received = Arc::new(Mutex::new(Received::default()));
        let shared = received.clone();
        let server = HttpServer::start(move |request| {
            let mut received = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match values(request) {
                Ok(values) => {
                    received.values.extend(values);
                    received.encodings.push(request.header("content-encoding").unwrap_or_default().to_owned());
                    Reply::new(202, "accepted")
                }
                Err(reason) => Reply::new(400, reason),
            }
        })?;
        Ok(Self { server, received })
    }

    pub fn values(&self) -> Vec<Value> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).values.clone()
    }

    /// The Content-Encoding of each request.
    pub fn encodings(&self) -> Vec<String> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).encodings.clone()
    }
}

fn values(request: &Request) -> Result<Vec<Value>, String> {
    if request.method != "POST" {
        return Err(format!("the method is {}", request.method));
    }
    let text = std::str::from_utf8(&request.body).map_err(|error| error.to_string())?;
    match request.header("content-type") {
        Some("application/x-ndjson") => {
            let lines = text.strip_suffix('\n').ok_or("the last line has no end")?;
            lines
                .split('\n')
                .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
                .collect()
        }
        Some("application/json") => serde_json::from_str(text).map_err(|error| error.to_string()),
        Some("text/plain; charset=utf-8") => {
            let lines = text.strip_suffix('\n').ok_or("the last line has no end")?;
            Ok(lines.split('\n').map(Value::from).collect())
        }
        other => Err(format!("the content's type is {other:?}")),
    }
}

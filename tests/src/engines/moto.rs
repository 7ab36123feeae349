//! moto, which stands for AWS: here CloudWatch Logs.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::python::python;
use crate::http;
use crate::port::Port;
use crate::server::Server;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server with the APIs of AWS. What it has is gone when it stops.
#[derive(Debug)]
pub struct Moto {
    _server: Server,
    port: Port,
    _folder: TempDir,
}

impl Moto {
    pub fn start() -> Result<Self> {
        let (port, folder) = (Port::reserve()?, tempfile::tempdir()?);
        let mut command = Command::new(python()?);
        command.args(["-m", "moto.server", "--host", "127.0.0.1", "--port", &port.number().to_string()]);
        let mut server = Server::start(&command, &folder.path().join("moto.log"))?;
        let address = port.address();
        let listening = || TcpStream::connect(address).with_context(|| format!("connecting to {address}"));
        server.wait_until("moto listens", START_TIMEOUT, listening)?;
        Ok(Self { _server: server, port, _folder: folder })
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The answer to a call of the CloudWatch Logs API.
    pub fn logs(&self, action: &str, parameters: &Value) -> Result<Value> {
        let target = format!("Logs_20140328.{action}");
        let scope = "Credential=test/20261120/eu-west-3/logs/aws4_request";
        let authorization = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let headers = [
            ("X-Amz-Target", target.as_str()),
            ("Content-Type", "application/x-amz-json-1.1"),
            ("Authorization", authorization.as_str()),
        ];
        http::request(self.address(), "POST", "/", &headers, parameters.to_string().as_bytes())?.success()?.json()
    }

    /// All events of a log stream, in the order in which the platform gives them.
    pub fn events(&self, group: &str, stream: &str) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        let mut token = Value::Null;
        loop {
            let mut parameters = json!({"logGroupName": group, "logStreamName": stream, "startFromHead": true});
            if token.is_string() {
                parameters["nextToken"] = token.clone();
            }
            let answer = self.logs("GetLogEvents", &parameters)?;
            let page = answer["events"].as_array().cloned().unwrap_or_default();
            // The same token again says that this was the end.
            if page.is_empty() || answer["nextForwardToken"] == token {
                return Ok(events);
            }
            events.extend(page);
            token = answer["nextForwardToken"].clone();
        }
    }
}

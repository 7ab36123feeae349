//! An OpenTelemetry collector as far as OTLP/HTTP goes; what came in is decoded by OpenTelemetry's own package.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::http_server::{HttpServer, Reply, Request};
use crate::engines::python::python;

/// Prints each request as a line of JSON, in the format's own mapping, and fails on anything that it does not know.
const DECODE: &str = r#"
import sys, struct
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
data, at = open(sys.argv[1], "rb").read(), 0
while at < len(data):
    (length,) = struct.unpack_from(">I", data, at)
    request = ExportLogsServiceRequest()
    request.ParseFromString(data[at + 4:at + 4 + length])
    request_again = ExportLogsServiceRequest()
    request_again.CopyFrom(request)
    request_again.DiscardUnknownFields()
    if request_again.ByteSize() != length:
        sys.exit("unknown fields, or another encoding than the usual one")
    print(MessageToJson(request, indent=None))
    at += 4 + length
"#;

/// A collector that keeps requests.
pub struct OtlpCollector {
    pub server: HttpServer,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    folder: TempDir,
    python: PathBuf,
}

impl OtlpCollector {
    pub fn start() -> Result<Self> {
        // To install the package takes longer than a test waits for what it decodes.
        let python = python()?;
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let shared = bodies.clone();
        let server = HttpServer::start(move |request| {
            if let Err(error) = check(request) {
                return Reply::new(400, format!("{error:#}"));
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).push(request.body.clone());
            // An ExportLogsServiceResponse without a partial success has no bytes.
            let headers = vec![("Content-Type".to_owned(), "application/x-protobuf".to_owned())];
            Reply { status: 200, headers, body: Vec::new() }
        })?;
        Ok(Self { server, bodies, folder: tempfile::tempdir()?, python })
    }

    pub fn requests(&self) -> usize {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The requests, decoded.
    pub fn decoded(&self) -> Result<Vec<Value>> {
        let file = self.folder.path().join("requests");
        let mut out = fs::File::create(&file)?;
        for body in self.bodies.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            out.write_all(&u32::try_from(body.len())?.to_be_bytes())?;
            out.write_all(body)?;
        }
        let output = Command::new(&self.python).arg("-c").arg(DECODE).arg(&file).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| serde_json::from_str(line).context("no JSON")).collect()
    }

    /// All log records, each with the attributes of its resource under `resource`.
    pub fn records(&self) -> Result<Vec<Value>> {
        let mut records = Vec::new();
        let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
        for request in self.decoded()? {
            for resource in list(&request, "resourceLogs") {
                for scope in list(&resource, "scopeLogs") {
                    for mut record in list(&scope, "logRecords") {
                        record["resource"] = resource["resource"]["attributes"].clone();
                        records.push(record);
                    }
                }
            }
        }
        Ok(records)
    }
}

fn check(request: &Request) -> Result<()> {
    ensure!((request.method.as_str(), request.path.as_str()) == ("POST", "/v1/logs"), "404 page not found");
    ensure!(request.header("content-type") == Some("application/x-protobuf"), "unsupported media type");
    ensure!(!request.body.is_empty(), "an empty request");
    Ok(())
}

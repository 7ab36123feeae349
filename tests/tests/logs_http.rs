//! Outputs over HTTP on the real agent: to an OpenTelemetry collector, CloudWatch and whatever takes lines.

use std::time::Duration;

use anyhow::{Result, ensure};
use hostwright_tests::engines::Moto;
use hostwright_tests::numbered_log::{NumberedLog, wait_hindered, wait_well};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::receivers::http_server::{Fault, HttpServer, Reply, Request};
use hostwright_tests::receivers::{Lines, OtlpCollector};
use hostwright_tests::wait::eventually;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(40);

/// The time of the lines.
const NANOSECONDS: i128 = 1_795_169_472_500_000_000;

fn sequence(line: &str) -> Value {
    serde_json::from_str::<Value>(line).map(|line| line["seq"].clone()).unwrap_or_default()
}

fn attribute(list: &Value, name: &str) -> Value {
    let all = list.as_array().into_iter().flatten();
    all.filter(|one| one["key"] == name).map(|one| one["value"].clone()).next().unwrap_or_default()
}

#[test]
fn a_collector_gets_records_that_opentelemetrys_own_package_decodes() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let collector = OtlpCollector::start()?;
    collector.server.order([Fault::Status(503, vec![("Retry-After".into(), "1".into())])]);
    app.write(1000)?;
    app.append(
        "{\"msg\":\"ä\\n\",\"level\":\"error\",\"n\":{\"deep\":[1,2.5,null,true,\"x\"]},\"big\":-9007199254740993}\n",
    )?;
    app.append("no JSON\n")?;
    let _agent = app.agent(&format!("{{otlp: {{url: '{}'}}}}", collector.server.url()))?;
    let records = eventually("all records", SOON, || {
        let records = collector.records()?;
        ensure!(records.len() == 1002, "{} records", records.len());
        Ok(records)
    })?;
    for (number, record) in records[..1000].iter().enumerate() {
        ensure!(attribute(&record["attributes"], "seq")["intValue"].as_str() == Some(&format!("{number}")), "{record}");
    }
    let first = &records[0];
    ensure!(first["timeUnixNano"] == NANOSECONDS.to_string(), "{first}");
    ensure!(first["severityNumber"] == "SEVERITY_NUMBER_WARN" && first["severityText"] == "warn", "{first}");
    ensure!(first["body"]["stringValue"] == "m", "{first}");
    ensure!(attribute(&first["attributes"], "message").is_null(), "the message is there twice: {first}");
    for (name, value) in [("host.name", "testhost"), ("service.name", "backend"), ("environment", "prod")] {
        ensure!(attribute(&first["resource"], name)["stringValue"] == value, "{name}: {first}");
    }
    let nested = &records[1000];
    let expected = json!({"kvlistValue": {"values": [{"key": "deep", "value": {"arrayValue": {"values": [
        {"intValue": "1"}, {"doubleValue": 2.5}, {}, {"boolValue": true}, {"stringValue": "x"}
    ]}}}]}});
    ensure!(attribute(&nested["attributes"], "n") == expected, "{nested}");
    ensure!(attribute(&nested["attributes"], "big")["intValue"] == "-9007199254740993", "{nested}");
    ensure!(nested["body"]["stringValue"] == "ä\n", "{nested}");
    ensure!(records[1001]["body"]["stringValue"] == "no JSON", "{}", records[1001]);
    let mut ids: Vec<_> = records
        .iter()
        .map(|record| attribute(&record["attributes"], "log.record.uid")["stringValue"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == 1002, "ids are not unique");
    Ok(())
}

#[test]
fn lines_reach_a_url_in_each_format_and_compression() -> Result<()> {
    for (format, compress) in [("ndjson", "none"), ("array", "zstd"), ("text", "gzip")] {
        let mut app = NumberedLog::new()?;
        let mut receiver = Lines::start()?;
        receiver.server.order([Fault::Status(502, vec![])]);
        app.write(2000)?;
        let more = format!("format: {format}, compress: {compress}, headers: {{X-Team: web}}");
        let agent = app.agent(&format!("{{http: {{url: '{}/in?a=b', {more}}}}}", receiver.server.url()))?;
        let number = |value: &Value| match value {
            Value::String(line) => sequence(line),
            object => object["seq"].clone(),
        };
        let arrived = || receiver.values().iter().map(number).collect();
        ensure!(app.wait_complete(arrived)? == 0, "{format}: duplicates");
        let encoding = if compress == "none" { "" } else { compress };
        ensure!(receiver.encodings().iter().all(|one| one == encoding), "{:?}", receiver.encodings());
        if format != "text" {
            ensure!(receiver.values()[0]["source"] == "backend", "{}", receiver.values()[0]);
        }
        receiver.server.stop();
        app.write(500)?;
        wait_hindered(&agent, "cannot connect to http://127.0.0.1")?;
        receiver.server.start_again()?;
        ensure!(app.wait_complete(|| receiver.values().iter().map(number).collect())? == 0, "{format}: duplicates");
        wait_well(&agent)?;
    }
    Ok(())
}

#[test]
fn cloudwatch_gets_each_line_in_a_stream_that_is_made_for_it() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let moto = Moto::start()?;
    app.write(12_000)?;
    let output = format!(
        "{{cloudwatch: {{region: eu-west-3, url: 'http://{}', group: /hosts, create: true}}, batch: {{lines: 20000, bytes: 4MiB}}}}",
        moto.address()
    );
    let keys = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    // moto takes no events that are too old, and the lines' own time may be by now.
    let config = app.config("plain", &output);
    let agent = AgentProcess::start_with_env(&config, &keys)?;
    let numbers = || -> Vec<Value> {
        let events = moto.events("/hosts", "testhost/backend").unwrap_or_default();
        let message = |event: &Value| serde_json::from_str::<Value>(event["message"].as_str().unwrap_or_default());
        events
            .iter()
            .filter_map(|event| message(event).ok())
            .map(|m| sequence(m["message"].as_str().unwrap_or_default()))
            .collect()
    };
    ensure!(app.wait_complete(numbers)? == 0, "duplicates");
    wait_well(&agent)?;
    ensure!(!agent.output().contains("hunter2"), "{}", agent.output());
    Ok(())
}

/// Gives credentials as an instance's metadata service does (IMDSv2), and as a container's does.
fn role(request: &Request) -> Reply {
    let given = json!({"AccessKeyId": "ASIATEST", "SecretAccessKey": "hunter2", "Token": "t", "Expiration": "2100-01-01T00:00:00Z"});
    let in_session = request.header("x-aws-ec2-metadata-token") == Some("session");
    match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/latest/api/token") if request.header("x-aws-ec2-metadata-token-ttl-seconds").is_some() => {
            Reply::new(200, "session")
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") if in_session => Reply::new(200, "logger"),
        ("GET", "/latest/meta-data/iam/security-credentials/logger") if in_session => Reply::json(200, &given),
        ("GET", "/task") if request.header("authorization") == Some("token") => Reply::json(200, &given),
        _ => Reply::new(401, ""),
    }
}

#[test]
fn cloudwatch_is_reached_with_the_role_of_the_instance_or_container() -> Result<()> {
    let moto = Moto::start()?;
    let service = HttpServer::start(role)?;
    let (url, task) = (service.url(), format!("{}/task", service.url()));
    let container =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", task.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token")];
    let instance = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())];
    for (group, env) in [("instance", &instance[..]), ("container", &container[..])] {
        for given in ["", &format!(", credentials: {{role: {group}}}")] {
            let mut app = NumberedLog::new()?;
            app.write(100)?;
            let group = format!("{group}{}", given.len());
            let output = format!(
                "{{cloudwatch: {{region: eu-west-3, url: 'http://{}', group: {group}, create: true{given}}}}}",
                moto.address()
            );
            let agent = AgentProcess::start_with_env(&app.config("plain", &output), env)?;
            eventually("all of them", SOON, || {
                let count = moto.events(&group, "testhost/backend")?.len();
                ensure!(count == 100, "{count} of 100");
                Ok(())
            })?;
            wait_well(&agent)?;
            ensure!(!agent.output().contains("hunter2"), "{}", agent.output());
        }
    }
    Ok(())
}

#[test]
fn cloudwatch_without_credentials_or_a_group_says_what_to_do() -> Result<()> {
    let mut app = NumberedLog::new()?;
    let moto = Moto::start()?;
    app.write(10)?;
    let output = format!("{{cloudwatch: {{region: eu-west-3, url: 'http://{}', group: g}}}}", moto.address());
    let nobody = [("AWS_EC2_METADATA_DISABLED", "true")];
    let agent = AgentProcess::start_with_env(&app.config("plain", &output), &nobody)?;
    wait_hindered(&agent, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")?;
    drop(agent);
    let keys = [("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let agent = AgentProcess::start_with_env(&app.config("plain", &output), &keys)?;
    wait_hindered(&agent, "create the log group and stream, or set create: true")
}

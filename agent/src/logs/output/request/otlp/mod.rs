/// What a collector says of the records that it has.
mod answer;

use super::batch::Selection;
use super::http::{Answer, Client, Request};
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use crate::logs::output::encode::otlp::push_key_value;
use crate::logs::record::Facts;
use answer::partial_success;
use hostwright_core::config::logs::output::otlp::Otlp as Settings;
use hostwright_duty::protobuf::{push_bytes, push_head, push_message, varint_length};
use reqwest::header::HeaderMap;
use std::convert::Infallible;

/// An OpenTelemetry collector, by OTLP/HTTP: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.
#[derive(Debug)]
pub struct Otlp {
    client: Client,
    service_name: Option<String>,
    origin: Origin,
    /// Records that were thrown away there since this was last asked for.
    thrown_away: u64,
}

impl Otlp {
    pub fn new(settings: &Settings, origin: &Origin) -> Self {
        let client = Client::new(&settings.endpoint, "/v1/logs".into());
        Self { client, service_name: settings.service_name.clone(), origin: origin.clone(), thrown_away: 0 }
    }

    pub async fn deliver(&mut self, items: Selection<'_>) -> Result<Vec<NotTaken>, Undelivered> {
        let body = self.export_request(items).into();
        let content_type = "application/x-protobuf";
        let request = Request { content_type, headers: HeaderMap::new(), body };
        let answer = self.client.post(request).await?;
        if answer.status.is_success() {
            return Ok(self.rejected(&answer, items.len()));
        }
        let undelivered = self.client.undelivered(&answer);
        // The specification's list of what may be tried again: anything else is for good.
        match (answer.status.as_u16(), undelivered) {
            (500 | 501 | 505..=599, _) => Err(Undelivered::Refused(self.client.said(&answer))),
            (_, undelivered) => Err(undelivered),
        }
    }

    /// Which records were rejected is not told unless it is all of them, and none may be sent again.
    fn rejected(&mut self, answer: &Answer, count: usize) -> Vec<NotTaken> {
        let Some((rejected, message)) = partial_success(&answer.body).filter(|(rejected, _)| *rejected > 0) else {
            return Vec::new();
        };
        let why = format!(
            "{} rejected {rejected} of {count} records: {}",
            self.client.address(),
            self.client.shown(&message)
        );
        if rejected >= count as u64 {
            return (0..count).map(|index| NotTaken { index, refused: true, why: why.clone() }).collect();
        }
        log::warn!(rejected; "logs: {why}; it does not say which, and forbids to send them again");
        self.thrown_away += rejected;
        Vec::new()
    }

    pub fn thrown_away(&mut self) -> u64 {
        std::mem::take(&mut self.thrown_away)
    }

    /// opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest
    fn export_request(&self, items: Selection<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for (facts, share) in items.groups() {
            let resource = self.resource(facts);
            let scope = scope();
            let records: usize = share.items().map(|(_, record)| record.len()).sum();
            let logs = scope.len() + records;
            push_head(&mut out, 1, resource.len() + 1 + varint_length(logs as u64) + logs);
            out.extend_from_slice(&resource);
            push_head(&mut out, 2, logs);
            out.extend_from_slice(&scope);
            for (_, record) in share.items() {
                out.extend_from_slice(record);
            }
        }
        out
    }

    /// Who the records are of, as field 1 of ResourceLogs.
    fn resource(&self, facts: &Facts) -> Vec<u8> {
        let service = self.service_name.as_deref().unwrap_or(&facts.source);
        let own = [("host.name", self.origin.host.as_str()), ("service.name", service)];
        let labels = self.origin.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut out = Vec::new();
        let Ok(()) = push_message(&mut out, 1, |out| {
            own.into_iter().chain(labels).try_for_each(|(name, value)| {
                push_key_value(out, 1, name, |out| {
                    push_bytes(out, 1, value.as_bytes());
                    Ok::<_, Infallible>(())
                })
            })
        });
        out
    }
}

/// Who made the records, as field 1 of ScopeLogs.
fn scope() -> Vec<u8> {
    let mut out = Vec::new();
    let Ok(()) = push_message(&mut out, 1, |out| {
        push_bytes(out, 1, b"hostwright-agent");
        push_bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
        Ok::<_, Infallible>(())
    });
    out
}

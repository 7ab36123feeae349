use super::batch::Selection;
use super::http::{Answer, Client, Request};
use super::{NotTaken, Undelivered};
use crate::logs::output::Origin;
use crate::logs::output::encode::otlp::push_key_value;
use crate::logs::record::Facts;
use crate::protobuf::{push_bytes, push_head, push_message, varint_length};
use hostwright_core::config::logs::output::otlp::Otlp as Settings;
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
        let request = Request { content_type, headers: HeaderMap::new(), body, items: items.len() };
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

/// How many records were rejected, and why: ExportLogsServiceResponse, of which nothing else is known.
fn partial_success(body: &[u8]) -> Option<(u64, String)> {
    let mut success = None;
    fields(body, |field, value| {
        if let (1, Field::Bytes(bytes)) = (field, value) {
            success = Some(bytes);
        }
    })?;
    let (mut rejected, mut message) = (0, String::new());
    fields(success?, |field, value| match (field, value) {
        (1, Field::Number(number)) => rejected = number,
        (2, Field::Bytes(bytes)) => message = String::from_utf8_lossy(bytes).into_owned(),
        _ => {}
    })?;
    Some((rejected, message))
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Gives each field of a message; none if it is not one.
fn fields<'a>(mut rest: &'a [u8], mut each: impl FnMut(u64, Field<'a>)) -> Option<()> {
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut rest)?),
            1 => rest.split_off(..8).map(|_| Field::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Field::Bytes(rest.split_off(..length)?)
            }
            5 => rest.split_off(..4).map(|_| Field::Other)?,
            _ => return None,
        };
        each(tag >> 3, value);
    }
    Some(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::partial_success;

    #[test]
    fn a_partial_success_is_read_and_anything_else_is_none() {
        assert_eq!(partial_success(b"\x0a\x08\x08\xac\x02\x12\x03bad"), Some((300, "bad".into())));
        assert_eq!(partial_success(b"\x0a\x00"), Some((0, String::new())));
        assert_eq!(partial_success(b"\x29\0\0\0\0\0\0\0\0\x0a\x02\x08\x01"), Some((1, String::new())));
        for none in
            [&b""[..], b"{}", b"<html>", b"\x0a\x7f\x08", b"\x0a", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(partial_success(none), None, "{none:?}");
        }
    }

    #[test]
    fn bytes_of_any_kind_are_no_trouble() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50_000 {
            let mut body: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            if random.bool() {
                body.splice(0..0, *b"\x0a\x1b\x08\xac\x02\x12\x16");
            }
            let _ = partial_success(&body);
        }
    }
}

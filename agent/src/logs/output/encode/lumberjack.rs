use super::splice::Splice;
use super::{Encode, Origin};
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::Lumberjack;

/// What Logstash's own senders say of themselves; pipelines name indices by it.
const METADATA: &str = concat!(
    "{\"@metadata\":{\"beat\":\"hostwright\",\"type\":\"_doc\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"},\"record_id\":\""
);

/// Writes the records of one file as Lumberjack events: JSON objects with `@timestamp`, `@metadata` and our id.
#[derive(Debug)]
pub struct Encoder {
    splice: Splice,
}

impl Encoder {
    pub fn new(settings: &Lumberjack, origin: &Origin, facts: &Facts) -> Self {
        Self { splice: Splice::indexed(settings.fields, origin, facts) }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(METADATA.as_bytes());
        record.id.push_base64(out);
        out.push(b'"');
        let brace = out.len();
        self.splice.push(record, out);
        // One object of two: never empty, the second has a time at least.
        out[brace] = b',';
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder, Splice};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use hostwright_core::config::logs::output::Fields;
    use serde_json::{Value, json};

    fn encoded(text: &str) -> Value {
        let origin = Origin { host: "h".into(), labels: [].into() };
        let object = serde_json::from_str::<Object<'_>>(text).ok();
        let record = Record { text, cut: false, object, time: Time::Text("now"), severity: None, id: Id::default() };
        let mut out = Vec::new();
        let splice = Splice::indexed(Fields::Ecs, &origin, &Facts::default());
        Encoder { splice }.encode(&record, &mut out).expect("encoded");
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn an_event_has_time_metadata_and_id() {
        let value = encoded("text");
        assert_eq!(
            (&value["message"], &value["@timestamp"], &value["host"]),
            (&json!("text"), &json!("now"), &json!({"name": "h"}))
        );
        assert_eq!(value["@metadata"]["beat"], "hostwright");
        assert_eq!(value["record_id"], "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(encoded("{}")["@timestamp"], "now");
        let own = encoded(r#"{"@timestamp":"t","host":1,"labels":2,"source":3,"file":4}"#);
        assert_eq!((&own["@timestamp"], &own["@timestamp_"], &own["host_"]), (&json!("now"), &json!("t"), &json!(1)));
    }
}

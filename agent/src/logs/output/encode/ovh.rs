use super::flat::Flat;
use super::flatten::Rules;
use super::json::clipped;
use super::ltsv::Ltsv;
use super::{Encode, Origin, rfc5424};
use crate::logs::record::{Facts, Record};
use hostwright_core::config::logs::output::ovh::{Ovh, Protocol};

/// Larger records than this are not known to be taken by anything on the platform's side.
const LARGEST: usize = 5 << 20;

/// Writes the records of one file as OVH's Log Data Platform takes them, with the token that chooses the stream.
///
/// The platform drops what it does not like without telling the sender, so nothing of that kind is sent.
#[derive(Debug)]
pub enum Encoder {
    /// Flat JSON, and what stands before and behind each record.
    Flat(Flat, &'static [u8], &'static [u8]),
    Syslog(rfc5424::Encoder),
    Ltsv(Ltsv),
}

impl Encoder {
    pub fn new(settings: &Ovh, origin: &Origin, facts: &Facts) -> Self {
        let token = settings.known.as_ref().map_or("", |token| token.expose());
        match &settings.protocol {
            Protocol::Gelf(_) => Self::Flat(Flat::ovh_gelf(origin, facts, token), b"", b"\0"),
            Protocol::Lumberjack(_) => Self::Flat(Flat::ovh_event(origin, facts, token), b"", b""),
            Protocol::Bulk(_) => {
                Self::Flat(Flat::ovh_document(origin, facts, token), b"{\"create\":{\"_index\":\"ldp-logs\"}}\n", b"\n")
            }
            Protocol::Ltsv(_) => Self::Ltsv(Ltsv::new(origin, facts, token)),
            Protocol::Syslog(settings) => {
                let token = [("X-OVH-TOKEN", token)];
                Self::Syslog(rfc5424::Encoder::with_parameters(settings, origin, facts, &token))
            }
        }
    }
}

impl Encode for Encoder {
    fn encode(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), String> {
        let start = out.len();
        match self {
            Self::Flat(flat, before, behind) => {
                out.extend_from_slice(before);
                flat.push(record, out);
                out.extend_from_slice(behind);
            }
            Self::Ltsv(ltsv) => {
                ltsv.push(record, out);
                out.push(b'\n');
            }
            Self::Syslog(encoder) => {
                let text = clipped(record.text, Rules::Ovh.longest_message());
                let cut = record.cut || text.len() < record.text.len();
                let &Record { object, time, severity, id, .. } = record;
                encoder.encode(&Record { text, cut, object, time, severity, id }, out)?;
            }
        }
        match out.len() - start {
            length if length > LARGEST => Err(format!(
                "{length} bytes as OVH's platform takes them; more than {LARGEST} are not known to arrive, and nobody would tell"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Encode, Encoder, LARGEST};
    use crate::logs::output::Origin;
    use crate::logs::record::{Facts, Id, Object, Record, Time};
    use hostwright_core::config::Config;
    use hostwright_core::config::logs::output::Platform;
    use hostwright_core::secret::Secret;
    use serde_json::Value;

    fn encoded(protocol: &str, text: &str) -> Result<String, String> {
        let settings = format!("{{address: h, token: {{env: T}}, protocol: {protocol}}}");
        let config = Config::parse(&format!("logs: {{outputs: {{a: {{ovh: {settings}}}}}}}"), "agent.yaml");
        let Platform::Ovh(mut ovh) = config.expect("valid").logs.expect("present").outputs["a"].platform.clone() else {
            panic!("not OVH")
        };
        ovh.known = Some(Secret::new("T\"1".into()));
        let origin = Origin { host: "h".into(), labels: [].into() };
        let object = Object::of(text, &Default::default());
        let time = Time::Text("2026-11-20T10:11:12.5Z");
        let mut out = Vec::new();
        let record = Record { text, cut: false, object, time, severity: Some(3), id: Id::default() };
        Encoder::new(&ovh, &origin, &Facts::default()).encode(&record, &mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn each_protocol_has_the_token_in_its_place_and_ends_records_in_its_way() {
        let line = r#"{"message":"m","a":1}"#;
        let bulk = encoded("'bulk', user: u, password: {env: P}", line).expect("encoded");
        let (action, document) = bulk.strip_suffix('\n').and_then(|text| text.split_once('\n')).expect("two lines");
        let document: Value = serde_json::from_str(document).expect("JSON");
        assert_eq!(
            (action, &document["X-OVH-TOKEN"], &document["a_long"]),
            ("{\"create\":{\"_index\":\"ldp-logs\"}}", &"T\"1".into(), &1.into())
        );
        let gelf = encoded("gelf", line).expect("encoded");
        let gelf: Value = serde_json::from_str(gelf.strip_suffix('\0').expect("a NUL")).expect("JSON");
        assert_eq!(
            (&gelf["_X-OVH-TOKEN"], &gelf["short_message"], &gelf["level"]),
            (&"T\"1".into(), &"m".into(), &3.into())
        );
        let event: Value = serde_json::from_str(&encoded("lumberjack", line).expect("encoded")).expect("JSON");
        assert_eq!((&event["X-OVH-TOKEN"], &event["message"]), (&"T\"1".into(), &"m".into()));
        let ltsv = encoded("ltsv", line).expect("encoded");
        assert!(ltsv.starts_with("X-OVH-TOKEN:T\"1\thost:h\t") && ltsv.ends_with("\tmessage:m\ta_long:1\n"), "{ltsv}");
        assert!(ltsv.contains("\ttime:2026-11-20T10:11:12.5Z\tlevel:3\t"), "{ltsv}");
        let syslog = encoded("syslog", "a\nb").expect("encoded");
        assert!(syslog.starts_with("<131>1 2026-11-20T10:11:12.5Z h ") && syslog.ends_with("] a\\nb\n"), "{syslog}");
        assert!(syslog.contains(r#" X-OVH-TOKEN="T\"1" "#) || syslog.contains(r#" X-OVH-TOKEN="T\"1"]"#), "{syslog}");
    }

    #[test]
    fn a_record_that_nothing_makes_acceptable_is_refused_here() {
        let field = format!("\"{}\":1", "x".repeat(1 << 20));
        let line = format!("{{{}}}", vec![field; 6].join(","));
        let why = encoded("gelf", &line).expect_err("refused");
        assert!(line.len() > LARGEST && why.contains("nobody would tell"), "{why}");
    }
}

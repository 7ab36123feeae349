use crate::config::endpoint::{Compress, Endpoint};
use crate::config::section::Section;

/// An OpenTelemetry collector, or what takes OTLP/HTTP with protobuf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Where it is; `/v1/logs` is added unless the URL ends so. Compressed with gzip unless asked otherwise: names of
    /// fields stand in each record.
    pub endpoint: Endpoint,
    /// `service.name`; the source's name unless given.
    pub service_name: Option<String>,
    /// Whether records get ids (`log.record.uid`), by which those that are sent again can be told.
    pub ids: bool,
}

impl Otlp {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let endpoint = Endpoint::read(&mut section, &[Compress::Gzip, Compress::None, Compress::Zstd]);
        let service_name = section.optional("service_name");
        let ids = section.or("ids", true);
        section.finish();
        Some(Self { endpoint: endpoint?, service_name, ids })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::endpoint::Compress;
    use crate::config::logs::output::Platform;

    #[test]
    fn gzip_is_the_default() {
        let text = "logs:\n  outputs:\n    o: {otlp: {url: 'http://127.0.0.1:4318', service_name: web}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let Platform::Otlp(otlp) = &logs.outputs["o"].platform else { panic!("not otlp") };
        assert_eq!((otlp.endpoint.compress, otlp.service_name.as_deref()), (Compress::Gzip, Some("web")));
    }
}

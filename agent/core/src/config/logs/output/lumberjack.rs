use super::{Fields, Receiver};
use crate::config::section::Section;
use std::time::Duration;

/// Lumberjack, version 2: Logstash's input `beats`, and others that Filebeat sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lumberjack {
    /// Where it goes.
    pub receiver: Receiver,
    /// How hard events are compressed, from 1 to 9; not at all with 0.
    pub compression_level: u32,
    /// How long the receiver may be silent with events on their way.
    pub timeout: Duration,
    /// What our fields are called.
    pub fields: Fields,
}

impl Lumberjack {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let receiver = Receiver::read(&mut section);
        // Filebeat's defaults.
        let compression_level = section.or("compression_level", 3u64);
        if compression_level > 9 {
            section.problem_with("compression_level", "between 0 (none) and 9");
        }
        let timeout = section.or("timeout", Duration::from_secs(30));
        if timeout < Duration::from_secs(1) {
            section.problem_with("timeout", "at least 1s");
        }
        let fields = section.or("fields", Fields::default());
        section.finish();
        let compression_level = u32::try_from(compression_level).unwrap_or(9);
        Some(Self { receiver: receiver?, compression_level, timeout, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Platform;
    use super::Lumberjack;
    use crate::config::Config;
    use std::time::Duration;

    fn read(lumberjack: &str) -> Result<Lumberjack, String> {
        let text = format!("logs:\n  outputs:\n    a: {{lumberjack: {lumberjack}}}\n");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        match config.logs.expect("present").outputs["a"].platform.clone() {
            Platform::Lumberjack(lumberjack) => Ok(lumberjack),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_filebeat() {
        let lumberjack = read("{address: 'h:5044', tls: {}}").expect("valid");
        assert_eq!((lumberjack.compression_level, lumberjack.timeout), (3, Duration::from_secs(30)));
        assert!(lumberjack.receiver.tls.is_some());
    }

    #[test]
    fn levels_and_timeouts_have_their_limits() {
        let message = read("{address: 'h:5044', compression_level: 10, timeout: 0s}").expect_err("refused");
        assert!(message.contains("between 0 (none) and 9") && message.contains("at least 1s"), "{message}");
    }
}

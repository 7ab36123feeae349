use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

/// What was found in a message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message<'a> {
    pub time: Option<Timestamp>,
    pub hostname: Option<&'a str>,
    pub app_name: Option<&'a str>,
    pub procid: Option<&'a str>,
    pub msgid: Option<&'a str>,
    pub structured_data: Map<String, Value>,
    pub text: &'a str,
}

/// What messages are read with.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub now: Timestamp,
    /// Of times that do not say theirs.
    pub zone: &'a TimeZone,
    /// From this host by its own socket, where messages name no host.
    pub is_local: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn now(zone: &'a TimeZone, is_local: bool) -> Self {
        Self { now: Timestamp::now(), zone, is_local }
    }
}

/// The text without the byte order mark that says that it is UTF-8.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

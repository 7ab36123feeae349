use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Where a line says when it happened, if the places and forms that are known by themselves do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The field that holds the time; `time`, `timestamp`, `@timestamp` and `ts` unless given.
    pub field: Option<String>,
    /// How the time is written, with strftime's conversions; a text line begins with it.
    pub format: Option<String>,
    /// The zone of times that do not name theirs; UTC unless given.
    pub timezone: Option<Timezone>,
}

/// The name of a time zone that this host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timezone(String);

impl Timezone {
    /// The zone; UTC should the host have forgotten it since.
    pub fn zone(&self) -> jiff::tz::TimeZone {
        zone(&self.0).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    if name == "local" { jiff::tz::TimeZone::try_system().ok() } else { jiff::tz::TimeZone::get(name).ok() }
}

impl FromNode for Timezone {
    const EXPECTED: &'static str = "a time zone such as Europe/Paris, UTC or local";

    fn from_node(node: &Node) -> Result<Self, String> {
        let name = node.text().ok_or_else(|| mismatch::<Self>(node))?;
        if zone(name).is_none() {
            return Err(format!(
                "this host knows no time zone {name:?}; names are like Europe/Paris, and the package tzdata has them"
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Written in strftime's conversions.
struct Format(String);

impl FromNode for Format {
    const EXPECTED: &'static str = "a time's form such as '%d/%b/%Y:%H:%M:%S %z'";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().filter(|text| text.contains('%')).ok_or_else(|| mismatch::<Self>(node))?;
        // A form that cannot be written cannot be read.
        let now = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
        let written = jiff::fmt::strtime::format(text, &now);
        written.map(|_| Self(text.to_owned())).map_err(|error| format!("{text:?} is no form of a time: {error}"))
    }
}

impl When {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let format = section.optional::<Format>("format").map(|format| format.0);
        let when = Self { field: section.optional("field"), format, timezone: section.optional("timezone") };
        section.finish();
        Some(when)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::source;
    use super::Timezone;

    #[test]
    fn a_time_has_a_field_a_form_and_a_zone_that_exist() {
        let when =
            source("time: {field: at, format: '%d/%b/%Y', timezone: UTC}").expect("valid").time.expect("present");
        assert_eq!((when.field.as_deref(), when.format.as_deref()), (Some("at"), Some("%d/%b/%Y")));
        assert_eq!(when.timezone, Some(Timezone("UTC".into())));
        for (wrong, why) in [
            ("{timezone: Europe/Atlantis}", "this host knows no time zone \"Europe/Atlantis\""),
            ("{format: 'yyyy-MM-dd'}", "a time's form such as"),
            ("{format: '%!'}", "is no form of a time"),
            ("{zone: UTC}", "unknown key"),
        ] {
            let message = source(&format!("time: {wrong}")).expect_err(wrong);
            assert!(message.contains(why), "{message}");
        }
    }
}

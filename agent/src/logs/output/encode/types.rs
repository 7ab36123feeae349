//! The types that OVH's Log Data Platform reads off the endings of names (its field naming conventions). A value that is
//! not of its name's type makes the platform rename the field or drop the record, without telling whoever sent it.

use jiff::{Timestamp, civil};
use std::net::IpAddr;

/// What the ending of a name says of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Double,
    Long,
    Date,
    Bool,
    Geolocation,
    Ip,
}

impl Type {
    fn of(name: &[u8]) -> Option<Self> {
        let underscore = memchr::memrchr(b'_', name)?;
        Some(match &name[underscore + 1..] {
            b"num" | b"double" | b"float" => Self::Double,
            b"int" | b"long" => Self::Long,
            b"date" => Self::Date,
            b"bool" => Self::Bool,
            b"geolocation" => Self::Geolocation,
            b"ip" => Self::Ip,
            _ => return None,
        })
    }

    fn takes_text(self, text: &str) -> bool {
        match self {
            Self::Double => is_finite(text),
            Self::Long => text.parse::<i64>().is_ok(),
            Self::Date => text.parse::<Timestamp>().is_ok() || text.parse::<civil::DateTime>().is_ok(),
            Self::Bool => matches!(text, "true" | "false"),
            Self::Geolocation => text.split_once(',').is_some_and(|(latitude, longitude)| {
                let within = |text: &str, most: f64| text.trim().parse::<f64>().is_ok_and(|value| value.abs() <= most);
                within(latitude, 90.0) && within(longitude, 180.0)
            }),
            Self::Ip => text.parse::<IpAddr>().is_ok(),
        }
    }
}

fn is_finite(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What is to stand behind a name so that it takes a text.
pub fn ending_for_text(name: &[u8], text: &str) -> &'static str {
    match Type::of(name) {
        Some(of_name) if !of_name.takes_text(text) => "_string",
        _ => "",
    }
}

/// The same for `true` or `false`, which go as text.
pub fn ending_for_bool(name: &[u8]) -> &'static str {
    if Type::of(name) == Some(Type::Bool) { "" } else { "_bool" }
}

/// The same for a number; none if the platform has no number like it, so that it can only go as text.
pub fn ending_for_number(name: &[u8], number: &str) -> Option<&'static str> {
    let is_long = number.parse::<i64>().is_ok();
    match Type::of(name) {
        Some(Type::Long | Type::Date) if is_long => Some(""),
        Some(Type::Double) if is_finite(number) => Some(""),
        _ if is_long => Some("_long"),
        _ if is_finite(number) => Some("_double"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ending_for_bool, ending_for_number, ending_for_text};

    #[test]
    fn a_number_gets_the_ending_of_its_type_unless_its_name_has_one() {
        for (name, number, ending) in [
            ("a", "1", Some("_long")),
            ("a", "-1.5", Some("_double")),
            ("a", "1e3", Some("_double")),
            ("a", "9223372036854775808", Some("_double")),
            ("a", "1e999", None),
            ("a_int", "1", Some("")),
            ("a_int", "1.5", Some("_double")),
            ("a_num", "1", Some("")),
            ("a_date", "1795169472000", Some("")),
            ("a_ip", "1", Some("_long")),
            ("int", "1", Some("_long")),
        ] {
            assert_eq!(ending_for_number(name.as_bytes(), number), ending, "{name}: {number}");
        }
    }

    #[test]
    fn a_text_stays_what_its_name_says_or_says_that_it_is_text() {
        for (name, text, fits) in [
            ("a", "anything", true),
            ("a_int", "12", true),
            ("a_int", "twelve", false),
            ("a_num", "42.0", true),
            ("a_num", "inf", false),
            ("a_bool", "true", true),
            ("a_bool", "yes", false),
            ("a_date", "2026-11-20T10:11:12+01:00", true),
            ("a_date", "2026-11-20", true),
            ("a_date", "yesterday", false),
            ("a_ip", "10.0.0.1", true),
            ("a_ip", "::1", true),
            ("a_ip", "10.0.0", false),
            ("a_geolocation", "50.69,3.17", true),
            ("a_geolocation", "Roubaix", false),
        ] {
            assert_eq!(ending_for_text(name.as_bytes(), text), if fits { "" } else { "_string" }, "{name}: {text}");
        }
        assert_eq!(
            (ending_for_bool(b"a"), ending_for_bool(b"a_bool"), ending_for_bool(b"a_int")),
            ("_bool", "", "_bool")
        );
    }
}

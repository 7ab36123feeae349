use crate::encode::{Family, Kind};
use crate::sample::sysfs::Unit;

/// What is a sensor's; other files of a chip are not read.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

const MILLI: Unit = Unit::Times(0.001);
const MICRO: Unit = Unit::Per(1_000_000.0);

/// What a file's name says: `temp1_max` is the element `max` of the sensor `temp1`, which is of the kind `temp`.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'n> {
    pub kind: &'n str,
    pub number: u64,
    pub element: &'n str,
}

impl<'n> Place<'n> {
    /// That of a file's name, if it is a sensor's.
    pub fn of(name: &'n str) -> Option<Self> {
        let place = Self::split(name)?;
        KINDS.contains(&place.kind).then_some(place)
    }

    fn split(name: &'n str) -> Option<Self> {
        let digits = name.find(|character: char| character.is_ascii_digit()).unwrap_or(name.len());
        let (kind, rest) = name.split_at(digits);
        let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        let (number, rest) = rest.split_at(end);
        if !kind.is_empty() && (rest.is_empty() || is_element(rest)) {
            let number = if number.is_empty() { 0 } else { number.parse().ok()? };
            return Some(Self { kind, number, element: rest.strip_prefix('_').unwrap_or_default() });
        }
        // `in_1x`: an element that begins with a digit, of a kind without a number.
        let at = (1..digits).rev().find(|at| name.is_char_boundary(*at) && is_element(&name[*at..]))?;
        Some(Self { kind: &name[..at], number: 0, element: &name[at + 1..] })
    }

    /// The label `sensor`.
    pub fn sensor(&self) -> String {
        format!("{}{}", self.kind, self.number)
    }
}

fn is_element(rest: &str) -> bool {
    rest.len() > 1 && rest.starts_with('_')
}

/// What a file's content is.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// A number in this unit.
    Number(Unit),
    /// Whether it is 1.
    Switch,
}

/// What has a name must not have becomes an underscore; none stands at its ends.
pub fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let fit = |character: char| matches!(character, 'a'..='z' | '0'..='9' | ':' | '_');
    let replaced: String = lower.chars().map(|character| if fit(character) { character } else { '_' }).collect();
    replaced.trim_matches('_').to_owned()
}

/// The family of a file, and what its content is; none where it is told in no family. Of a sensor with a file that is
/// its kind alone, `has_own` is true: `pwm1` beside `pwm1_input`.
pub fn family(place: &Place<'_>, has_own: bool) -> Option<(Family, Content)> {
    let Place { kind, element, .. } = *place;
    match kind {
        "beep_enable" => {
            return Some((gauge("node_hwmon_beep_enabled", "Hardware beep enabled"), Content::Switch));
        }
        "vrm" => return own(element, "node_hwmon_voltage_regulator_version", "Hardware voltage regulator", Unit::One),
        "update_interval" => {
            return own(element, "node_hwmon_update_interval_seconds", "Hardware monitor update interval", MILLI);
        }
        _ => {}
    }
    let name = match element {
        "" => format!("node_hwmon_{kind}"),
        "input" if !has_own => format!("node_hwmon_{kind}"),
        element => format!("node_hwmon_{kind}_{}", clean(element)),
    };
    let (suffix, help, unit) = meaning(kind, element)?;
    let family = if suffix == "_joule_total" { Kind::Counter } else { Kind::Gauge };
    Some((Family::new(&format!("{name}{suffix}"), &help, family), Content::Number(unit)))
}

fn gauge(name: &str, help: &str) -> Family {
    Family::gauge(name, help)
}

/// Of a sensor that has no elements.
fn own(element: &str, name: &str, help: &str, unit: Unit) -> Option<(Family, Content)> {
    element.is_empty().then(|| (gauge(name, help), Content::Number(unit)))
}

/// What the name ends with, the help, and the unit; none where it is told in no family.
fn meaning(kind: &str, element: &str) -> Option<(&'static str, String, Unit)> {
    let monitor = |what: &str| format!("Hardware monitor {what} ({element})");
    Some(match (kind, element) {
        (_, "fault" | "alarm") => ("", format!("Hardware sensor {element} status ({kind})"), Unit::One),
        (_, "beep") => ("_enabled", "Hardware monitor sensor has beeping enabled".to_owned(), Unit::One),
        ("in" | "cpu", _) => ("_volts", monitor("for voltage"), MILLI),
        ("temp", "") => ("_celsius", "Hardware monitor for temperature (input)".to_owned(), MILLI),
        ("temp", element) if element != "type" => ("_celsius", monitor("for temperature"), MILLI),
        ("curr", _) => ("_amps", monitor("for current"), MILLI),
        ("energy", _) => ("_joule_total", monitor("for joules used so far"), MICRO),
        ("power", "accuracy") => ("", "Hardware monitor power meter accuracy, as a ratio".to_owned(), MICRO),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            ("_seconds", monitor("power usage update interval"), MILLI)
        }
        ("power", _) => ("_watt", monitor("for power usage in watts"), MICRO),
        ("humidity", _) => {
            ("", monitor("for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)"), MICRO)
        }
        ("fan", "input" | "min" | "max" | "target") => ("_rpm", monitor("for fan revolutions per minute"), Unit::One),
        ("freq", "input") => ("_freq_mhz", "Hardware monitor for GPU frequency in MHz".to_owned(), MICRO),
        _ => ("", format!("Hardware monitor {kind} element {element}"), Unit::One),
    })
}

#[cfg(test)]
mod tests {
    use super::{Place, clean, family};

    fn place(name: &str) -> Option<(&str, u64, &str)> {
        Place::of(name).map(|place| (place.kind, place.number, place.element))
    }

    #[test]
    fn names_of_files_are_split_as_the_original_does() {
        assert_eq!(place("temp1_input"), Some(("temp", 1, "input")));
        assert_eq!(place("pwm2"), Some(("pwm", 2, "")));
        assert_eq!(place("pwm1_auto_point3_temp"), Some(("pwm", 1, "auto_point3_temp")));
        assert_eq!(place("beep_enable"), Some(("beep_enable", 0, "")));
        assert_eq!(place("in_1x"), Some(("in", 0, "1x")));
        assert_eq!(place("cpu0_vid"), Some(("cpu", 0, "vid")));
        for name in ["temp1x", "temp_input", "1temp", "", "_", "name", "temp1_", "temp99999999999999999999_input", "é1"]
        {
            assert_eq!(place(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_cleaned_of_what_a_label_has_not() {
        assert_eq!(
            (clean("Thermal: Zone 0\n"), clean("__a.b__"), clean("é")),
            ("thermal:_zone_0".into(), "a_b".into(), String::new())
        );
    }

    #[test]
    fn a_family_has_the_unit_in_its_name() {
        let name = |file: &str, has_own: bool| {
            let (family, _) = family(&Place::of(file)?, has_own)?;
            Some(family.name().to_owned())
        };
        for (file, want) in [
            ("temp1_input", "node_hwmon_temp_celsius"),
            ("temp1_type", "node_hwmon_temp_type"),
            ("in1_min_alarm", "node_hwmon_in_min_alarm_volts"),
            ("fan1_beep", "node_hwmon_fan_beep_enabled"),
            ("energy1_input", "node_hwmon_energy_joule_total"),
            ("power1_average_interval", "node_hwmon_power_average_interval_seconds"),
            ("pwm1_enable", "node_hwmon_pwm_enable"),
            ("vrm", "node_hwmon_voltage_regulator_version"),
        ] {
            assert_eq!(name(file, false).as_deref(), Some(want), "{file}");
        }
        assert_eq!(name("fan1_input", true).as_deref(), Some("node_hwmon_fan_input_rpm"));
    }
}

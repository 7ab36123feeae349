//! `node_systemd_*`: what systemd says of its units.
//!
//! In: two questions on the system's bus, with as many calls each as there is to ask; on systemd's own socket where
//! there is no bus. Out: the original's families. What changes with the units' files alone is asked once, until systemd
//! reads them anew; a systemd that does not answer delays one scrape by a second. Nothing survives a restart.

/// What is written.
mod families;
/// What is known of a unit.
mod unit;

use super::dbus::{Bus, Call, Reader, Sockets, Value};
use super::{CollectError, Collector, Scrape};
use crate::encode::Labels;
use families::{Families, Manager};
use hostwright_core::config::metrics::collectors::systemd as options;
use std::sync::Arc;
use unit::{Property, STATES, Unit};

const SERVICE: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Where root speaks to systemd without a bus.
const PRIVATE: &str = "/run/systemd/private";
/// What is asked of systemd itself, after the list of units. The last changes when it reads its units' files.
const OF_MANAGER: [&str; 4] = ["Version", "Virtualization", "SystemState", "UnitsLoadFinishTimestampMonotonic"];

/// systemd's units.
pub struct Systemd {
    options: options::Systemd,
    bus: Bus,
    families: Families,
    /// In the order of their names.
    units: Vec<Unit>,
    /// How many units are in each state.
    counts: Vec<(String, Labels, u64)>,
    manager: Told,
    scrapes: u64,
}

/// What systemd said of itself.
#[derive(Default)]
struct Told {
    version: (String, Labels),
    virtualization: (String, Labels),
    is_running: Option<bool>,
    loaded: Option<u64>,
}

impl Systemd {
    pub fn new(options: &options::Systemd) -> Self {
        Self::on(options, Bus::new(Sockets { private: Some(PRIVATE.into()), ..Sockets::default() }))
    }

    fn on(options: &options::Systemd, bus: Bus) -> Self {
        let count = |state: &str| (state.to_owned(), Labels::new(&[("state", state.as_bytes())]), 0);
        Self {
            options: options.clone(),
            bus,
            families: Families::new(),
            units: Vec::new(),
            counts: STATES.map(count).into(),
            manager: Told::default(),
            scrapes: 0,
        }
    }

    /// Which units there are, and what systemd says of itself.
    fn ask_manager(&mut self) -> Result<(), CollectError> {
        let arguments = OF_MANAGER.map(|name| [MANAGER, name]);
        let list = Call { destination: SERVICE, path: PATH, interface: MANAGER, member: "ListUnits", arguments: &[] };
        let calls: Vec<_> = [list].into_iter().chain(arguments.iter().map(|names| property(PATH, names))).collect();
        self.scrapes += 1;
        let (loaded, mut listed) = (self.manager.loaded, None);
        let mut units = Units { options: &self.options, units: &mut self.units, counts: &mut self.counts };
        let (manager, scrape) = (&mut self.manager, self.scrapes);
        let asked = self.bus.ask(&calls, |at, body| match at {
            0 => listed = body.and_then(|body| units.take(body, scrape)),
            at => manager.take(OF_MANAGER[at - 1], body.and_then(|mut body| body.variant())),
        });
        self.check(asked)?;
        if listed.is_none() {
            let path = self.bus.sockets().bus.clone();
            return Err(CollectError::Malformed { path, what: "systemd does not list its units".into() });
        }
        if self.manager.loaded != loaded {
            self.units.iter_mut().for_each(Unit::forget_type);
        }
        Ok(())
    }

    fn ask_units(&mut self) -> Result<(), CollectError> {
        let questions: Vec<(usize, Property)> = self
            .units
            .iter()
            .enumerate()
            .flat_map(|(at, unit)| unit.questions(&self.options).map(move |property| (at, property)))
            .collect();
        let names: Vec<_> =
            questions.iter().map(|(at, property)| [self.units[*at].interface(*property), property.name()]).collect();
        let mut answers = Vec::new();
        let calls: Vec<_> =
            questions.iter().zip(&names).map(|((at, _), names)| property(&self.units[*at].path, names)).collect();
        let asked = self.bus.ask(&calls, |at, body| {
            // Errors are of units that are gone meanwhile, or of an older systemd that has no such property.
            match body.and_then(|mut body| body.variant()) {
                Some(Value::Text(text)) => answers.push((at, Answer::Text(text.to_owned()))),
                Some(Value::Number(number)) => answers.push((at, Answer::Number(number))),
                None => {}
            }
        });
        drop(calls);
        self.check(asked)?;
        for (at, answer) in answers {
            let (unit, property) = questions[at];
            self.units[unit].take(property, answer.value());
        }
        Ok(())
    }

    fn check(&self, asked: std::io::Result<()>) -> Result<(), CollectError> {
        let path = &self.bus.sockets().bus;
        asked.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => CollectError::NoData { path: path.clone() },
            _ => CollectError::Read { path: path.clone(), source: Arc::new(error) },
        })
    }
}

/// What is kept of a reply until all are there; few are texts.
enum Answer {
    Text(String),
    Number(u64),
}

impl Answer {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
        }
    }
}

fn property<'a>(path: &'a str, names: &'a [&'a str; 2]) -> Call<'a> {
    Call { destination: SERVICE, path, interface: PROPERTIES, member: "Get", arguments: names }
}

/// What a list of units is taken into.
struct Units<'a> {
    options: &'a options::Systemd,
    units: &'a mut Vec<Unit>,
    counts: &'a mut Vec<(String, Labels, u64)>,
}

impl Units<'_> {
    /// Takes all or none.
    fn take(&mut self, mut body: Reader<'_>, scrape: u64) -> Option<()> {
        self.counts.iter_mut().for_each(|(_, _, count)| *count = 0);
        let mut list = body.array(8)?;
        let mut new = Vec::new();
        while !list.is_at_end() {
            list.align(8);
            let (name, _description, loaded) = (list.text()?, list.text()?, list.text()?);
            let (state, _detail, _followed, path) = (list.text()?, list.text()?, list.text()?, list.text()?);
            let _job = (list.number()?, list.text()?, list.text()?);
            self.count(state);
            if loaded != "loaded" || !self.options.units.admits(name.as_bytes()) {
                continue;
            }
            match self.units.binary_search_by(|unit| (*unit.name).cmp(name)) {
                Ok(at) => self.units[at].see(state, scrape),
                Err(_) => {
                    let mut unit = Unit::new(name, path);
                    unit.see(state, scrape);
                    new.push(unit);
                }
            }
        }
        self.units.retain(|unit| unit.seen == scrape);
        if !new.is_empty() {
            self.units.append(&mut new);
            self.units.sort_unstable_by(|one, other| one.name.cmp(&other.name));
            self.units.dedup_by(|one, other| one.name == other.name);
        }
        Some(())
    }

    fn count(&mut self, state: &str) {
        match self.counts.iter_mut().find(|(known, ..)| known == state) {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((state.to_owned(), Labels::new(&[("state", state.as_bytes())]), 1)),
        }
    }
}

impl Told {
    fn take(&mut self, property: &str, value: Option<Value<'_>>) {
        let text = match value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        match property {
            "Version" => {
                let version = text.filter(|text| number_of(text).is_some()).unwrap_or_default();
                set(&mut self.version, "version", version);
            }
            "Virtualization" => {
                let kind = match text {
                    None => "unknown",
                    Some("") => "none",
                    Some(kind) => kind,
                };
                set(&mut self.virtualization, "virtualization_type", kind);
            }
            "SystemState" => self.is_running = text.map(|state| state == "running"),
            _ => {
                self.loaded = match value {
                    Some(Value::Number(number)) => Some(number),
                    _ => None,
                }
            }
        }
    }
}

fn set(known: &mut (String, Labels), label: &str, value: &str) {
    if known.0 != value || known.1 == Labels::default() {
        *known = (value.to_owned(), Labels::new(&[(label, value.as_bytes())]));
    }
}

/// `252.39-1~deb12u1` → 252.39: the first number of three digits, with what follows its dot.
fn number_of(version: &str) -> Option<f64> {
    let starts = version.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| &version[at..]);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let number = starts.into_iter().find(|rest| digits(rest) >= 3)?;
    let whole = digits(number);
    let part = number[whole..].strip_prefix('.').map_or(0, digits);
    number[..if part > 0 { whole + 1 + part } else { whole }].parse().ok()
}

impl Collector for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let asked = self.ask_manager().and_then(|()| self.ask_units());
        self.bus.rest();
        asked?;
        let told = &self.manager;
        let manager = Manager {
            counts: &self.counts,
            is_running: told.is_running,
            version: (&told.version.1, number_of(&told.version.0).unwrap_or_default()),
            virtualization: &told.virtualization.1,
        };
        self.families.write_manager(scrape.out, &manager);
        self.families.write_units(scrape.out, &self.units, self.options.start_times);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bus, Sockets, Systemd, number_of};
    use crate::sample::CollectError;
    use crate::sample::testing::{collect, tree};

    #[test]
    fn a_version_is_its_first_long_number() {
        let versions = ["252.39-1~deb12u1", "v249", "systemd 12 (2550.)", "9.9", ""].map(number_of);
        assert_eq!(versions, [Some(252.39), Some(249.0), Some(2550.0), None, None]);
    }

    #[test]
    fn a_host_without_systemd_is_no_trouble() {
        let (folder, roots) = tree(&[]);
        let sockets = Sockets { bus: folder.path().join("bus"), private: Some(folder.path().join("private")) };
        let mut systemd = Systemd::on(&Default::default(), Bus::new(sockets));
        assert!(matches!(collect(&mut systemd, &roots), Err(CollectError::NoData { .. })));
    }
}

use crate::encode::Labels;
use crate::sample::dbus::Value;
use hostwright_core::config::metrics::collectors::systemd as options;

/// In the original's order.
pub const STATES: [&str; 5] = ["active", "activating", "deactivating", "inactive", "failed"];

/// What is asked of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    Type,
    Restarts,
    Tasks,
    MostTasks,
    ActiveSince,
    LastTrigger,
    Accepted,
    Connections,
    Refused,
}

/// How many properties are numbers; `Type` is none.
const NUMBERS: usize = Property::Refused as usize + 1;

impl Property {
    /// systemd's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "Type",
            Self::Restarts => "NRestarts",
            Self::Tasks => "TasksCurrent",
            Self::MostTasks => "TasksMax",
            Self::ActiveSince => "ActiveEnterTimestamp",
            Self::LastTrigger => "LastTriggerUSec",
            Self::Accepted => "NAccepted",
            Self::Connections => "NConnections",
            Self::Refused => "NRefused",
        }
    }
}

/// What a unit is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Service,
    Mount,
    Timer,
    Socket,
    Other,
}

/// A unit with what is known of it.
#[derive(Debug)]
pub struct Unit {
    pub name: String,
    /// Its object on the bus.
    pub path: String,
    kind: Kind,
    /// Its place in [`STATES`]; none for others.
    state: Option<usize>,
    /// Services' and mounts' own; asked for once, until systemd reads its units anew.
    own_type: Option<String>,
    numbers: [Option<u64>; NUMBERS],
    /// Its name.
    pub labels: Labels,
    /// With each state.
    pub state_labels: [Labels; STATES.len()],
    /// Of the scrape that last saw it.
    pub seen: u64,
}

impl Unit {
    pub fn new(name: &str, path: &str) -> Self {
        let kind = match name.rsplit_once('.') {
            Some((_, "service")) => Kind::Service,
            Some((_, "mount")) => Kind::Mount,
            Some((_, "timer")) => Kind::Timer,
            Some((_, "socket")) => Kind::Socket,
            _ => Kind::Other,
        };
        let mut unit = Self {
            name: name.to_owned(),
            path: path.to_owned(),
            kind,
            state: None,
            own_type: None,
            numbers: [None; NUMBERS],
            labels: Labels::new(&[("name", name.as_bytes())]),
            state_labels: Default::default(),
            seen: 0,
        };
        unit.render();
        unit
    }

    fn render(&mut self) {
        let own_type = self.own_type.as_deref().unwrap_or_default();
        for (labels, state) in self.state_labels.iter_mut().zip(STATES) {
            let pairs = [("name", &*self.name), ("state", state), ("type", own_type)];
            labels.set(&pairs.map(|(label, value)| (label, value.as_bytes())));
        }
    }

    /// Notes that it is there, in this state.
    pub fn see(&mut self, state: &str, scrape: u64) {
        self.seen = scrape;
        self.state = STATES.iter().position(|known| *known == state);
        self.numbers = [None; NUMBERS];
        if self.kind == Kind::Mount {
            // What is mounted there changes without a word to systemd's own files.
            self.forget_type();
        }
    }

    /// It is asked for again; until then the labels stay.
    pub fn forget_type(&mut self) {
        self.own_type = None;
    }

    pub fn is_in(&self, state: usize) -> bool {
        self.state == Some(state)
    }

    fn is_active(&self) -> bool {
        self.is_in(0)
    }

    /// The interface that has the property.
    pub fn interface(&self, property: Property) -> &'static str {
        match (property, self.kind) {
            (Property::ActiveSince, _) | (_, Kind::Other) => "org.freedesktop.systemd1.Unit",
            (_, Kind::Service) => "org.freedesktop.systemd1.Service",
            (_, Kind::Mount) => "org.freedesktop.systemd1.Mount",
            (_, Kind::Timer) => "org.freedesktop.systemd1.Timer",
            (_, Kind::Socket) => "org.freedesktop.systemd1.Socket",
        }
    }

    /// What has to be asked.
    pub fn questions(&self, options: &options::Systemd) -> impl Iterator<Item = Property> + use<> {
        use Property::{Accepted, ActiveSince, Connections, LastTrigger, MostTasks, Refused, Restarts, Tasks, Type};
        let of_kind: &[Property] = match self.kind {
            Kind::Service => &[Type, Restarts, Tasks, MostTasks],
            Kind::Mount => &[Type],
            Kind::Timer => &[LastTrigger],
            Kind::Socket => &[Accepted, Connections, Refused],
            Kind::Other => &[],
        };
        let (knows_type, is_active) = (self.own_type.is_some(), self.is_active());
        let (tasks, restarts, start_times) = (options.tasks, options.restarts, options.start_times);
        of_kind.iter().copied().chain([ActiveSince]).filter(move |property| match property {
            Type => !knows_type,
            Restarts => restarts,
            Tasks | MostTasks => tasks,
            ActiveSince => start_times && is_active,
            _ => true,
        })
    }

    /// Takes an answer.
    pub fn take(&mut self, property: Property, value: Value<'_>) {
        match (property, value) {
            (Property::Type, Value::Text(text)) => {
                if self.own_type.as_deref() != Some(text) {
                    self.own_type = Some(text.to_owned());
                    self.render();
                }
            }
            (_, Value::Number(number)) => self.numbers[property as usize] = Some(number),
            (_, Value::Text(_)) => {}
        }
    }

    /// What was answered this time.
    pub fn number(&self, property: Property) -> Option<u64> {
        self.numbers[property as usize]
    }

    /// Of tasks, there may be no number and no limit.
    pub fn finite(&self, property: Property) -> Option<u64> {
        self.number(property).filter(|number| *number != u64::MAX)
    }

    /// Microseconds since the epoch; 0 of what is not active.
    pub fn active_since(&self) -> Option<u64> {
        if self.is_active() { self.number(Property::ActiveSince) } else { Some(0) }
    }
}

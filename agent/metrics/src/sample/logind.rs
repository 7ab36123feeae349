use super::dbus::{Bus, Call, Reader, Sockets, Value};
use super::{CollectError, Collector, Scrape};
use crate::encode::{Family, Labels};
use std::io;
use std::sync::Arc;

const SERVICE: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OF_SESSION: [&str; 3] = ["Remote", "Type", "Class"];

const REMOTE: [&str; 2] = ["true", "false"];
/// The first stands for those that the original does not know.
const TYPES: [&str; 7] = ["other", "unspecified", "tty", "x11", "wayland", "mir", "web"];
const CLASSES: [&str; 5] = ["other", "user", "greeter", "lock-screen", "background"];

/// Sessions that logind knows.
pub struct Logind {
    bus: Bus,
    sessions: Family,
    /// In logind's order, and at the end the one without a name, where remote sessions are.
    seats: Vec<Seat>,
}

struct Seat {
    name: String,
    counts: Vec<(Labels, u64)>,
}

impl Seat {
    fn new(name: &str) -> Self {
        let combinations = REMOTE.iter().flat_map(|remote| {
            TYPES.iter().flat_map(move |kind| CLASSES.iter().map(move |class| (remote, kind, class)))
        });
        let counts = combinations.map(|(remote, kind, class)| {
            let pairs = [("seat", name), ("remote", *remote), ("type", *kind), ("class", *class)];
            (Labels::new(&pairs.map(|(label, value)| (label, value.as_bytes()))), 0)
        });
        Self { name: name.to_owned(), counts: counts.collect() }
    }
}

/// What is known of a session.
#[derive(Clone, Default)]
struct Session {
    seat: String,
    path: String,
    /// Its places in [`REMOTE`], [`TYPES`] and [`CLASSES`].
    places: [Option<usize>; OF_SESSION.len()],
}

impl Logind {
    pub fn new() -> Self {
        Self {
            bus: Bus::new(Sockets::default()),
            sessions: Family::gauge("node_logind_sessions", "Number of sessions registered in logind."),
            seats: Vec::new(),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let call = |member| Call { destination: SERVICE, path: PATH, interface: MANAGER, member, arguments: &[] };
        let (mut seats, mut sessions) = (None, None);
        self.bus.ask(&[call("ListSeats"), call("ListSessions")], |at, body| match at {
            0 => seats = body.and_then(seats_of),
            _ => sessions = body.and_then(sessions_of),
        })?;
        let lists = seats.zip(sessions);
        let (seats, mut sessions) = lists.ok_or_else(|| io::Error::other("logind does not list its sessions"))?;
        if !self.seats.iter().map(|seat| &seat.name).eq(&seats) {
            self.seats = seats.iter().map(|name| Seat::new(name)).collect();
        }
        self.ask_sessions(&mut sessions)?;
        self.seats.iter_mut().flat_map(|seat| &mut seat.counts).for_each(|(_, count)| *count = 0);
        for session in sessions {
            let seat = self.seats.iter_mut().find(|seat| seat.name == session.seat);
            // A session without an answer is gone meanwhile.
            if let (Some(seat), [Some(remote), Some(kind), Some(class)]) = (seat, session.places) {
                seat.counts[(remote * TYPES.len() + kind) * CLASSES.len() + class].1 += 1;
            }
        }
        Ok(())
    }

    fn ask_sessions(&mut self, sessions: &mut [Session]) -> io::Result<()> {
        let paths: Vec<String> = sessions.iter().map(|session| session.path.clone()).collect();
        let names = OF_SESSION.map(|name| [SESSION, name]);
        let call =
            |path, arguments| Call { destination: SERVICE, path, interface: PROPERTIES, member: "Get", arguments };
        let calls = paths.iter().flat_map(|path| names.iter().map(move |names| call(path, &names[..])));
        self.bus.ask(&calls.collect::<Vec<_>>(), |at, body| {
            let place = body.and_then(|mut body| body.variant()).and_then(|value| place(at % names.len(), value));
            sessions[at / names.len()].places[at % names.len()] = place;
        })
    }
}

/// Where the value of a property stands among the known ones.
fn place(property: usize, value: Value<'_>) -> Option<usize> {
    let known = |names: &[&str], text| names.iter().position(|name| *name == text).unwrap_or_default();
    match (property, value) {
        (0, Value::Number(is_remote)) => Some(usize::from(is_remote == 0)),
        (1, Value::Text(text)) => Some(known(&TYPES, text)),
        (2, Value::Text(text)) => Some(known(&CLASSES, text)),
        _ => None,
    }
}

fn seats_of(mut body: Reader<'_>) -> Option<Vec<String>> {
    let (mut list, mut seats) = (body.array(8)?, Vec::new());
    while !list.is_at_end() {
        list.align(8);
        seats.push(list.text()?.to_owned());
        let _path = list.text()?;
    }
    seats.push(String::new());
    Some(seats)
}

fn sessions_of(mut body: Reader<'_>) -> Option<Vec<Session>> {
    let (mut list, mut sessions) = (body.array(8)?, Vec::new());
    while !list.is_at_end() {
        list.align(8);
        let _who = (list.text()?, list.number()?, list.text()?);
        let (seat, path) = (list.text()?.to_owned(), list.text()?.to_owned());
        sessions.push(Session { seat, path, ..Session::default() });
    }
    Some(sessions)
}

impl Collector for Logind {
    fn name(&self) -> &'static str {
        "logind"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let read = self.read();
        self.bus.rest();
        let path = &self.bus.sockets().bus;
        read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CollectError::NoData { path: path.clone() },
            _ => CollectError::Read { path: path.clone(), source: Arc::new(error) },
        })?;
        let mut samples = scrape.out.family(&self.sessions);
        self.seats.iter().flat_map(|seat| &seat.counts).for_each(|(labels, count)| samples.with(labels, *count));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, REMOTE, Seat, TYPES, place};
    use crate::encode::Labels;
    use crate::sample::dbus::Value;

    #[test]
    fn every_combination_has_its_place() {
        let seat = Seat::new("seat0");
        assert_eq!(seat.counts.len(), REMOTE.len() * TYPES.len() * CLASSES.len());
        let places = [Value::Number(0), Value::Text("tty"), Value::Text("user")];
        let places: Vec<_> = places.into_iter().enumerate().map(|(at, value)| place(at, value)).collect();
        assert_eq!(places, [Some(1), Some(2), Some(1)]);
        let labels = Labels::new(&[("seat", b"seat0"), ("remote", b"false"), ("type", b"tty"), ("class", b"user")]);
        assert_eq!(seat.counts[(7 + 2) * 5 + 1].0, labels);
        assert_eq!(place(1, Value::Text("hologram")), Some(0));
        assert_eq!(place(2, Value::Number(1)), None);
    }
}

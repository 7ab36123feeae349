//! What duties measure of themselves: numbers under names, for whoever tells them on. A duty says them with its status;
//! the duty that serves metrics writes them, and neither knows of the other.

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the duty is started again.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One thing that is measured, of some objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Behind `hostwright_DUTY_`.
    pub name: &'static str,
    /// A sentence.
    pub help: &'static str,
    /// What its numbers mean.
    pub kind: Kind,
    /// Labels and number of each object.
    pub samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// All that a duty measures, in the order in which it first says each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures(pub Vec<Measure>);

impl Measures {
    /// A number that only grows.
    pub fn counter(&mut self, what: (&'static str, &'static str), labels: &[(&'static str, &str)], number: u64) {
        self.add(what, Kind::Counter, (labels, number as f64));
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, what: (&'static str, &'static str), labels: &[(&'static str, &str)], number: f64) {
        self.add(what, Kind::Gauge, (labels, number));
    }

    fn add(
        &mut self,
        (name, help): (&'static str, &'static str),
        kind: Kind,
        (labels, number): (&[(&'static str, &str)], f64),
    ) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let at = self.0.iter().position(|measure| measure.name == name).unwrap_or_else(|| {
            self.0.push(Measure { name, help, kind, samples: Vec::new() });
            self.0.len() - 1
        });
        self.0[at].samples.push((labels, number));
    }
}

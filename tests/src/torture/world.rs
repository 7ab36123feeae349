use super::arrivals::Arrivals;
use super::calm::Calm;
use super::gate::Gate;
use super::lock;
use super::story::Story;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What applications, receivers and the one who ends the agent share.
#[derive(Debug)]
pub struct World {
    pub seed: u64,
    /// What does not happen: to find out what a failure is due to.
    pub without: String,
    pub story: Story,
    pub calm: Calm,
    pub gate: Arc<Gate>,
    /// Of each output.
    pub arrivals: Vec<Arc<Arrivals>>,
    /// Asks for the agent's end, after so long.
    pub urges: Mutex<Sender<Duration>>,
    /// How many lines each content of each application's file has.
    pub written: Mutex<BTreeMap<(u16, u32), u32>>,
}

impl World {
    /// Random numbers for somebody, the same for the same seed.
    pub fn rng(&self, whose: impl Debug) -> fastrand::Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, format!("{whose:?}")).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish())
    }

    /// Whether something may happen.
    pub fn has(&self, what: &str) -> bool {
        !self.without.split([',', ' ']).any(|without| without.eq_ignore_ascii_case(what))
    }

    pub fn wrote(&self, application: u16, generation: u32, lines: u32) {
        lock(&self.written).insert((application, generation), lines);
    }

    /// Whether every output has the first lines of a content.
    pub fn has_arrived(&self, application: u16, generation: u32, lines: u32) -> bool {
        self.arrivals.iter().all(|output| output.has(application, generation, lines))
    }

    /// Asks for the agent's end. When the run is over, nobody hears.
    pub fn urge(&self, after: Duration) {
        let _ = lock(&self.urges).send(after);
    }
}

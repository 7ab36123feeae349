use super::arrivals::Arrivals;
use super::world::World;
use super::{idle, lock};
use crate::receivers::listening::Listening;
use crate::receivers::lumberjack::{acknowledge, is_end, next_window};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A receiver of Lumberjack that acknowledges in parts, late or not at all, and ends connections at any moment.
pub struct Lumberjack {
    listening: Listening,
    serving: Arc<Serving>,
}

struct Serving {
    arrivals: Arc<Arrivals>,
    world: Arc<World>,
    rng: Mutex<fastrand::Rng>,
    cut: Mutex<Option<Whim>>,
    /// Events were taken, and nobody was told.
    breaks: AtomicU64,
}

/// What becomes of a window.
#[derive(Clone, Copy, Debug)]
enum Whim {
    /// Nothing is taken, and the connection ends.
    Refuse,
    /// Nothing is taken or said any more, until the sender has had enough.
    Stall,
    /// All is taken, and the connection ends.
    Forget,
    /// All is taken, and nothing is said any more.
    Hush,
    /// A part of it is taken and acknowledged, and the connection ends.
    Part,
    /// Parts of it are acknowledged, with time between.
    Parts,
    /// It takes its time, and says so.
    Busy,
}

impl Lumberjack {
    pub fn start(arrivals: Arc<Arrivals>, world: Arc<World>) -> anyhow::Result<Self> {
        let rng = Mutex::new(world.rng("lumberjack"));
        let serving = Serving { arrivals, world, rng, cut: Mutex::default(), breaks: AtomicU64::new(0) };
        let serving = Arc::new(serving);
        let shared = serving.clone();
        let listening = Listening::start(move |connection, _| {
            if let Err(error) = shared.serve(connection)
                && !is_end(&error)
            {
                shared.arrivals.complain(format!("no Lumberjack: {error:#}"));
            }
        })?;
        Ok(Self { listening, serving })
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// The next window is not taken, or is and never acknowledged.
    pub fn cut(&self, after: bool) {
        *lock(&self.serving.cut) = Some(if after { Whim::Forget } else { Whim::Refuse });
    }

    pub fn breaks(&self) -> u64 {
        self.serving.breaks.load(Ordering::Relaxed)
    }
}

impl Serving {
    fn serve(&self, mut connection: &TcpStream) -> anyhow::Result<()> {
        loop {
            let events = next_window(&mut connection)?;
            let count = events.len();
            let some = lock(&self.rng).usize(..=count);
            let whim = lock(&self.cut).take().or_else(|| self.whim());
            if let Some(whim) = whim {
                self.world.story.tell(&format!("lumberjack: {whim:?}, {some} of {count}"));
            }
            match whim {
                None => {}
                Some(Whim::Refuse) => return Ok(()),
                Some(Whim::Stall) => return hush(connection),
                Some(Whim::Forget) => {
                    self.take_untold(&events);
                    return Ok(());
                }
                Some(Whim::Hush) => {
                    self.take_untold(&events);
                    return hush(connection);
                }
                Some(Whim::Part) => {
                    // The end may outrun what is said before it.
                    self.take_untold(&events[..some]);
                    return acknowledge(&mut connection, some);
                }
                Some(Whim::Parts) => {
                    for part in [0..some, some..count].into_iter().filter(|part| !part.is_empty()) {
                        self.take(&events[part.clone()]);
                        acknowledge(&mut connection, part.end)?;
                        self.idle();
                    }
                    continue;
                }
                Some(Whim::Busy) => {
                    acknowledge(&mut connection, 0)?;
                    self.idle();
                }
            }
            self.take(&events);
            acknowledge(&mut connection, count)?;
        }
    }

    fn take_untold(&self, events: &[Value]) {
        self.breaks.fetch_add(1, Ordering::Relaxed);
        self.take(events);
    }

    fn take(&self, events: &[Value]) {
        events.iter().for_each(|event| self.arrivals.take(event.to_string().as_bytes()));
    }

    fn whim(&self) -> Option<Whim> {
        if self.world.calm.has_begun() || !self.world.has("whims") {
            return None;
        }
        match lock(&self.rng).u8(..80) {
            0 => Some(Whim::Refuse),
            1 => Some(Whim::Stall),
            2 => Some(Whim::Forget),
            3 => Some(Whim::Hush),
            4..6 => Some(Whim::Part),
            6..12 => Some(Whim::Parts),
            12..16 => Some(Whim::Busy),
            _ => None,
        }
    }

    fn idle(&self) {
        let mut rng = lock(&self.rng).fork();
        idle(&mut rng, 10..1000);
    }
}

/// Until the sender ends the connection, or has waited for longer than it should.
fn hush(mut connection: &TcpStream) -> anyhow::Result<()> {
    use std::io::Read as _;
    connection.set_read_timeout(Some(Duration::from_secs(20)))?;
    let _ = connection.read(&mut [0]);
    Ok(())
}

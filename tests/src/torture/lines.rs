use super::arrivals::Arrivals;
use super::world::World;
use super::{idle, lock};
use crate::receivers::{Fault, HttpServer, Reply};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A platform that takes lines with a POST, all or none of them, and that is slow, too busy or broken.
pub struct Lines {
    server: HttpServer,
    /// Lines were taken, and nobody was told.
    breaks: AtomicU64,
}

impl Lines {
    pub fn start(arrivals: Arc<Arrivals>, world: Arc<World>) -> anyhow::Result<Self> {
        let rng = Mutex::new(world.rng("lines"));
        let server = HttpServer::start(move |request| {
            let rng = &mut *lock(&rng);
            let has_whims = !world.calm.has_begun() && world.has("whims");
            match if has_whims { rng.u8(..40) } else { u8::MAX } {
                0 => return refusal(429, vec![("Retry-After".into(), "1".into())]),
                1 => return refusal(503, Vec::new()),
                2 => return refusal(500, Vec::new()),
                3..6 => idle(rng, 10..1000),
                _ => {}
            }
            for line in request.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                arrivals.take(line);
            }
            Reply::new(204, Vec::new())
        })?;
        Ok(Self { server, breaks: AtomicU64::new(0) })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The connection ends before the next request is carried out, or after.
    pub fn cut(&self, after: bool) {
        self.breaks.fetch_add(u64::from(after), Ordering::Relaxed);
        self.server.order([if after { Fault::CutAfter } else { Fault::CutBefore }]);
    }

    pub fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::Relaxed)
    }
}

fn refusal(status: u16, headers: Vec<(String, String)>) -> Reply {
    Reply { status, headers, body: b"no".to_vec() }
}

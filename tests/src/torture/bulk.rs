use super::arrivals::Arrivals;
use super::world::World;
use super::{idle, lock};
use crate::receivers::{Fault, HttpServer, Reply, Request};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// A platform with the bulk API (Elasticsearch, OpenSearch) that knows documents by their ids, and that is slow, too
/// busy or broken, as a whole and item by item.
pub struct Bulk {
    server: HttpServer,
}

struct State {
    rng: fastrand::Rng,
    ids: HashSet<Vec<u8>>,
}

impl Bulk {
    pub fn start(arrivals: Arc<Arrivals>, world: Arc<World>) -> anyhow::Result<Self> {
        let state = Mutex::new(State { rng: world.rng("bulk"), ids: HashSet::new() });
        let server = HttpServer::start(move |request| lock(&state).answer(request, &arrivals, &world))?;
        Ok(Self { server })
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The connection ends before the next request is carried out, or after.
    pub fn cut(&self, after: bool) {
        self.server.order([if after { Fault::CutAfter } else { Fault::CutBefore }]);
    }
}

impl State {
    fn answer(&mut self, request: &Request, arrivals: &Arrivals, world: &World) -> Reply {
        let has_whims = !world.calm.has_begun() && world.has("whims");
        let whim = if has_whims { self.rng.u8(..40) } else { u8::MAX };
        match whim {
            0 => return refusal(429, vec![("Retry-After".into(), "1".into())]),
            1 => return refusal(503, Vec::new()),
            2 => return refusal(500, Vec::new()),
            3..5 => idle(&mut self.rng, 10..1000),
            _ => {}
        }
        let is_busy = (5..15).contains(&whim);
        let mut lines = request.body.split(|byte| *byte == b'\n');
        let (mut items, mut errors) = (Vec::new(), false);
        while let (Some(action), Some(document)) = (lines.next().filter(|line| !line.is_empty()), lines.next()) {
            let status = self.take(action, document, is_busy, arrivals);
            errors |= status != 201;
            items.push(format!("{{\"create\":{{\"status\":{status}}}}}"));
        }
        Reply::new(200, format!("{{\"errors\":{errors},\"items\":[{}]}}", items.join(",")))
    }

    /// The status of an item.
    fn take(&mut self, action: &[u8], document: &[u8], is_busy: bool, arrivals: &Arrivals) -> u16 {
        match self.rng.u8(..) {
            0..10 if is_busy => return 429,
            10..15 if is_busy => return 503,
            _ => {}
        }
        if !self.ids.insert(id(action).to_vec()) {
            return 409;
        }
        arrivals.take(document);
        201
    }
}

/// An action without an id is all that a document is known by.
fn id(action: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"\"_id\":\"";
    let start = action.windows(NAME.len()).position(|part| part == NAME).map_or(0, |start| start + NAME.len());
    let length = action[start..].iter().position(|byte| *byte == b'"').unwrap_or(action.len() - start);
    &action[start..start + length]
}

fn refusal(status: u16, headers: Vec<(String, String)>) -> Reply {
    Reply { status, headers, body: b"{}".to_vec() }
}

//! The kernel's own way to the containers, for clients of other hosts.
//!
//! In: the same routes that the process which holds the ports is told. Out: rules of the packet filter (DNAT, in a table
//! of our own) by which new connections from other hosts go to a container without passing through that process; the
//! container sees who its client is. Connections that are under way stay, by the kernel's tracking, where they are.
//! What survives a restart of the agent are the rules: the kernel keeps them until they are replaced.
//!
//! The sockets of that process stay beneath: whatever the rules do not take arrives there. So they are taken away where
//! nobody is behind a port, before a container is stopped, while the engine is away, and on hosts whose own packet
//! filter would be gone past, or would drop what is forwarded (`survey`).

/// The programs that speak to the packet filter.
mod command;
/// The connections that the kernel tracks for us.
mod flows;
/// Where containers are, and by which way they answer.
mod interfaces;
/// Connections that are moved off a container before it is stopped.
mod moving;
/// What the kernel is to do with a port.
mod rules;
/// Whether the host's packet filter leaves room for it.
mod survey;

use super::client::socket;
use super::table::{Protocol, Route, Target};
use flows::Flow;
use interfaces::Interfaces;
pub use interfaces::direct;
use moving::Moving;
use rules::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use survey::Survey;

/// Rules that others have removed, and changes of the host's packet filter, are noticed this long after, or sooner.
const SURVEY_EVERY: Duration = Duration::from_secs(5);

/// Keeps the rules.
#[derive(Debug)]
pub struct Kernel {
    table: String,
    /// The rules that are there, as far as known, and as nft showed them then.
    told: Option<(Vec<Rule>, serde_json::Value)>,
    surveyed: Option<Instant>,
    moving: Moving,
    /// Why all clients come through the process that holds the ports.
    pub refusal: Option<String>,
}

impl Kernel {
    /// For an agent with this runtime folder: several on one host keep out of each other's way.
    pub fn new(runtime: &Path) -> Self {
        let table = rules::table(runtime);
        let folder = socket(runtime).with_file_name("");
        let moving = Moving::new(&table, &folder);
        Self { table, told: None, surveyed: None, moving, refusal: None }
    }

    /// Makes the rules those of the routes whose ports are held.
    pub async fn send(&mut self, routes: &[Route], not_held: &BTreeSet<String>) {
        let routes: Vec<&Route> = routes.iter().filter(|route| !not_held.contains(&route.listen.to_string())).collect();
        let rules = rules::of(&routes, &Interfaces::of_host());
        self.send_rules(&routes, rules).await;
        // Without rules nothing was begun that could be moved.
        let has_rules = self.told.as_ref().is_some_and(|(told, _)| !told.is_empty());
        let leaving = if has_rules { leaving(&routes) } else { BTreeSet::new() };
        self.moving.set(leaving).await;
    }

    async fn send_rules(&mut self, routes: &[&Route], rules: Vec<Rule>) {
        let is_new = self.told.as_ref().is_none_or(|(told, _)| *told != rules);
        if (!is_new || self.refusal.is_some()) && self.surveyed.is_some_and(|last| last.elapsed() < SURVEY_EVERY) {
            return;
        }
        if rules.is_empty() && !is_new {
            return;
        }
        match self.apply(rules).await {
            Ok(()) => self.refusal = None,
            Err(why) => self.refuse(why).await,
        }
        self.surveyed = Some(Instant::now());
        if is_new {
            flows::forget(kept(routes)).await;
        }
    }

    /// Takes containers out of the rules before they are stopped: what comes from now on waits with the process.
    pub async fn leave(&mut self, containers: &BTreeSet<String>) {
        let Some((told, _)) = &self.told else { return };
        let left = rules::without(told, containers);
        if left != *told
            && let Err(why) = self.apply(left).await
        {
            self.refuse(why).await;
        }
    }

    /// Lets all new connections come to the process: nobody knows which containers run.
    pub async fn withdraw(&mut self) {
        if self.told.as_ref().is_some_and(|(told, _)| !told.is_empty())
            && let Err(why) = self.apply(Vec::new()).await
        {
            self.refuse(why).await;
        }
    }

    /// How many connections each draining container still carries.
    pub async fn attached(&self, routes: &[Route]) -> BTreeMap<String, usize> {
        let draining: BTreeMap<SocketAddr, &str> = targets(routes)
            .filter(|target| target.draining)
            .filter_map(|target| Some((target.direct?, target.id.as_str())))
            .collect();
        if draining.is_empty() {
            return BTreeMap::new();
        }
        let mut counts = BTreeMap::new();
        match flows::all().await {
            Ok(flows) => {
                let live = flows.iter().filter(|flow| flow.is_live());
                for id in live.filter_map(|flow| draining.get(&flow.container)) {
                    *counts.entry((*id).to_owned()).or_default() += 1;
                }
            }
            // Without rules there is nothing to count, with them the drain's deadline decides.
            Err(error) if self.told.as_ref().is_some_and(|(told, _)| !told.is_empty()) => {
                log::warn!("the connections of containers cannot be counted: {error}");
                counts.extend(draining.values().map(|id| ((*id).to_owned(), 1)));
            }
            Err(_) => {}
        }
        counts
    }

    /// The host first, then the way through its filter, then the rules.
    async fn apply(&mut self, rules: Vec<Rule>) -> Result<(), String> {
        if rules.is_empty() {
            self.remove().await;
            self.told = Some((rules, serde_json::Value::Null));
            return Ok(());
        }
        let survey = Survey::make(&self.table).await?;
        survey.accept().await?;
        if self.told.as_ref().is_some_and(|(told, shown)| *told == rules && *shown == survey.own) {
            return Ok(());
        }
        command::nft(&rules::script(&self.table, &rules)).await?;
        let shown = Survey::shown(&self.table).await?;
        self.told = Some((rules, shown));
        Ok(())
    }

    async fn refuse(&mut self, why: String) {
        if self.refusal.as_ref() != Some(&why) {
            log::info!("clients of other hosts come through hostwright-ports: {why}");
        }
        self.remove().await;
        self.told = Some((Vec::new(), serde_json::Value::Null));
        self.refusal = Some(why);
    }

    /// Takes away what there may be, of an earlier agent as well.
    async fn remove(&self) {
        let known = self.told.as_ref();
        if known.is_some_and(|(told, _)| told.is_empty()) {
            return;
        }
        // A host without the program, or the right to use it, has no rules of ours.
        if command::nft(&rules::removal(&self.table)).await.is_ok() {
            survey::withdraw().await;
        }
    }
}

fn targets<'r>(routes: impl IntoIterator<Item = &'r Route>) -> impl Iterator<Item = &'r Target> {
    routes.into_iter().flat_map(|route| &route.targets)
}

/// The containers whose persistent connections are to go on to others.
fn leaving(routes: &[&Route]) -> BTreeSet<Ipv4Addr> {
    let of_tcp = routes.iter().filter(|route| route.listen.protocol == Protocol::Tcp && route.has_active());
    let draining = of_tcp.flat_map(|route| &route.targets).filter(|target| target.draining);
    let address = |target: &Target| match target.direct? {
        SocketAddr::V4(address) => Some(*address.ip()),
        SocketAddr::V6(_) => None,
    };
    draining.filter_map(address).collect()
}

/// Decides which of the tracked connections to our ports stay: those to a container that has the port's new ones, and
/// connections, but not datagrams, to one that is draining. All others lead to nobody: without their entry the client's
/// next packet is looked at anew.
fn kept(routes: &[&Route]) -> impl Fn(&Flow) -> bool + Send + 'static {
    let mut ports: BTreeMap<(Protocol, u16), BTreeSet<(SocketAddr, bool)>> = BTreeMap::new();
    for route in routes {
        let all = ports.entry((route.listen.protocol, route.listen.address.port())).or_default();
        all.extend(route.targets.iter().filter_map(|target| Some((target.direct?, target.draining))));
    }
    move |flow| {
        ports.get(&(flow.protocol, flow.port)).is_none_or(|targets| {
            targets.iter().any(|(address, is_draining)| {
                *address == flow.container && (!is_draining || flow.protocol == Protocol::Tcp)
            })
        })
    }
}

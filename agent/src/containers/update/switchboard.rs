use super::place::Place;
use super::traffic;
use crate::containers::compose::Project;
use crate::containers::observed::Observed;
use crate::host_ports::{Client, Kernel, Request, Route, has_ipv6, socket};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Tells the process that holds the ports, and the kernel, who is behind them.
#[derive(Debug)]
pub struct Switchboard {
    client: Client,
    kernel: Kernel,
    /// Ports that the process could not have, when it last answered: they are another program's.
    not_held: BTreeSet<String>,
    has_ipv6: bool,
    /// The project whose routes were told, if there were any.
    told: Option<String>,
    /// What is wrong with the held ports.
    pub problem: Option<String>,
}

impl Switchboard {
    /// For an agent with this runtime folder.
    pub fn new(runtime: &Path) -> Self {
        Self {
            client: Client::new(socket(runtime)),
            kernel: Kernel::new(runtime),
            not_held: BTreeSet::new(),
            has_ipv6: has_ipv6(),
            told: None,
            problem: None,
        }
    }

    /// Lets nobody come to these containers any more, which are about to be stopped.
    pub async fn leave(&mut self, containers: &BTreeSet<String>) {
        self.kernel.leave(containers).await;
    }

    /// Nobody knows who runs: the process tries until somebody answers.
    pub async fn withdraw(&mut self) {
        self.kernel.withdraw().await;
    }

    /// Why the clients of other hosts are not taken past the process, where they are not.
    pub fn refusal(&self) -> Option<String> {
        let why = self.kernel.refusal.as_ref()?;
        Some(format!("published ports: clients of other hosts come through hostwright-ports: {why}"))
    }

    /// Sends traffic where it belongs now. How many connections each container carries; nothing where nobody knows.
    pub async fn send(
        &mut self,
        project: &Project,
        (observed, places): (&Observed, &[Place<'_>]),
    ) -> Option<BTreeMap<String, usize>> {
        let routes = traffic::routes(project, observed, places, self.has_ipv6);
        // A host without held ports needs no such process. One of an earlier agent may still hold some.
        if routes.is_empty() && self.told.is_none() && !self.client.is_there() {
            return Some(BTreeMap::new());
        }
        if let Some(former) = self.told.take_if(|told| *told != project.name) {
            self.tell(former, Vec::new()).await;
        }
        self.told = Some(project.name.clone());
        let attached = self.tell(project.name.clone(), routes.clone()).await;
        self.kernel.send(&routes, &self.not_held).await;
        let mut attached = attached?;
        for (id, count) in self.kernel.attached(&routes).await {
            *attached.entry(id).or_default() += count;
        }
        Some(attached)
    }

    async fn tell(&mut self, owner: String, routes: Vec<Route>) -> Option<BTreeMap<String, usize>> {
        match self.client.ask(&Request::Set { owner, routes }).await {
            Ok(answer) => {
                self.not_held = answer.failed.keys().cloned().collect();
                let problems: Vec<String> = answer.failed.into_values().collect();
                self.problem = (!problems.is_empty()).then(|| problems.join("; "));
                Some(answer.attached)
            }
            Err(error) => {
                self.problem = Some(format!("published ports cannot be switched: {error:#}"));
                None
            }
        }
    }
}

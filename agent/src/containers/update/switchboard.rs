use super::place::Place;
use super::traffic;
use crate::containers::compose::Project;
use crate::containers::observed::Observed;
use crate::host_ports::{Client, Request, Route, has_ipv6};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tells the process that holds the ports who is behind them.
#[derive(Debug)]
pub struct Switchboard {
    client: Client,
    has_ipv6: bool,
    /// The project whose routes were told, if there were any.
    told: Option<String>,
    /// What is wrong with the held ports.
    pub problem: Option<String>,
}

impl Switchboard {
    pub fn new(socket: PathBuf) -> Self {
        Self { client: Client::new(socket), has_ipv6: has_ipv6(), told: None, problem: None }
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
        self.tell(project.name.clone(), routes).await
    }

    async fn tell(&mut self, owner: String, routes: Vec<Route>) -> Option<BTreeMap<String, usize>> {
        match self.client.ask(&Request::Set { owner, routes }).await {
            Ok(answer) => {
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

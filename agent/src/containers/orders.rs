//! What operators ask of the duty: deploy now, go back.

use super::Reconciler;
use hostwright_duty::orders::Order;
use serde_json::{Value, json};

impl Reconciler {
    /// Does what an operator asks for; the next round carries it out.
    pub(super) fn take(&mut self, order: Order) {
        if order.verb.starts_with("job-") {
            self.jobs.order(order);
            return;
        }
        let service = order.arguments["service"].as_str().map(str::to_owned);
        let answer = match order.verb.as_str() {
            "deploy" => self.deploy(service.as_deref()),
            "rollback" => match service {
                Some(service) => self.go_back(&service),
                None => Err("a rollback takes the name of a service".into()),
            },
            other => Err(format!("there is no order {other:?} for containers")),
        };
        order.answer(answer);
    }

    /// Reads the file again, forgets what was refused and failed, and looks at everything now.
    fn deploy(&mut self, service: Option<&str>) -> Result<Value, String> {
        self.desired.read_again();
        self.desired.refresh();
        // The project may have another name now.
        self.connection = None;
        let services: Vec<String> = match (service, &self.desired.project) {
            (_, None) => return Err(self.desired.problem.clone().unwrap_or_else(|| "there is no Compose file".into())),
            (Some(service), Some(_)) => {
                self.check_service(service)?;
                vec![service.to_owned()]
            }
            (None, Some(project)) => project.services.keys().cloned().collect(),
        };
        if let Some(problem) = &self.desired.problem {
            return Err(problem.clone());
        }
        self.memory.clear();
        for service in &services {
            self.memory.versions.allow(service);
        }
        self.resolve_images_of(&services);
        Ok(json!({"round": self.publisher.rounds(), "services": services}))
    }

    /// An operator's word is checked against the file.
    fn check_service(&self, service: &str) -> Result<(), String> {
        let Some(project) = self.desired.project.as_ref().filter(|project| !project.services.contains_key(service))
        else {
            return Ok(());
        };
        let names: Vec<&str> = project.services.keys().map(String::as_str).collect();
        Err(format!("there is no service {service:?}; there are {}", names.join(", ")))
    }

    fn go_back(&mut self, service: &str) -> Result<Value, String> {
        self.check_service(service)?;
        let version = self.memory.versions.go_back(service)?;
        self.memory.versions.store().map_err(|error| error.to_string())?;
        self.memory.clear();
        let (image, since) = (&version.blueprint.image, version.since.to_string());
        log::info!(service; "an operator goes back with {service} to {image} of {since}");
        Ok(json!({"round": self.publisher.rounds(), "services": [service], "image": image, "since": since}))
    }
}

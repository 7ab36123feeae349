use super::held_ports::{FORWARDER_ALONE, LABEL, is_held, listen};
use super::place::{Phase, Place};
use crate::containers::compose::{Port, Project};
use crate::containers::observed::{Container, Health, Observed, State};
use crate::host_ports::{Listen, Route, Target};
use std::net::{Ipv6Addr, SocketAddr};

/// The routes of a project: each held port with the containers that are to get its traffic.
pub fn routes(project: &Project, observed: &Observed, places: &[Place<'_>], has_ipv6: bool) -> Vec<Route> {
    let mut routes = Vec::new();
    for (name, service) in project.services.iter().filter(|(_, service)| is_held(project, service)) {
        // Until the engine has given the ports back they cannot be had.
        if observed.all_of(name).any(|container| container.has_host_ports && container.state != State::Created) {
            continue;
        }
        let own: Vec<&Place<'_>> = places.iter().filter(|place| place.service == name).collect();
        for port in &service.ports {
            let mut targets = targets(&own, port.container);
            if service.labels.get(LABEL).map(String::as_str) == Some(FORWARDER_ALONE) {
                targets.iter_mut().for_each(|target| target.direct = None);
            }
            for listen in listens(port, has_ipv6) {
                routes.push(Route { listen, targets: targets.clone() });
            }
        }
    }
    routes
}

fn targets(places: &[&Place<'_>], port: u16) -> Vec<Target> {
    let target = |container: &Container, draining| {
        let address = *container.addresses.first()?;
        let id = container.id.clone();
        let at = |address| SocketAddr::new(address, port);
        Some(Target { id, address: at(address), direct: container.direct.map(at), draining })
    };
    let mut serving: Vec<&Container> = places.iter().filter_map(|place| serving(place)).collect();
    // One that is sick gets nothing while there is a well one.
    if serving.iter().any(|container| container.health != Health::Unhealthy) {
        serving.retain(|container| container.health != Health::Unhealthy);
    }
    let draining = places.iter().filter_map(|place| draining(place));
    let serving = serving.iter().filter_map(|container| target(container, false));
    serving.chain(draining.filter_map(|container| target(container, true))).collect()
}

/// Who gets a place's new connections.
fn serving<'o>(place: &Place<'o>) -> Option<&'o Container> {
    let runs = |container: &&Container| container.state == State::Running;
    match place.phase {
        Phase::Exchange | Phase::StopOld => place.new.filter(runs),
        Phase::Trial | Phase::Failed(_) => place.old.filter(runs).or(place.new.filter(runs)),
        Phase::Empty | Phase::Settled | Phase::Begin => place.new.filter(runs).or(place.old.filter(runs)),
    }
}

/// Who is to be left by its connections.
pub fn draining<'o>(place: &Place<'o>) -> Option<&'o Container> {
    matches!(place.phase, Phase::Exchange | Phase::StopOld).then_some(place.old).flatten()
}

fn listens(port: &Port, has_ipv6: bool) -> Vec<Listen> {
    let Some(listen) = listen(port) else { return Vec::new() };
    // Where the file names no address the engine takes all, of both families.
    let both = port.host_ip.is_none() && has_ipv6;
    let second = Listen { address: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), listen.address.port()), ..listen };
    std::iter::once(listen).chain(both.then_some(second)).collect()
}

#[cfg(test)]
mod tests {
    use super::routes;
    use crate::containers::fixture::{converged, memory, project};
    use crate::containers::observed::Observed;
    use crate::containers::plan::{Recent, all_places};
    use crate::containers::update::held_ports::label;
    use std::collections::{BTreeMap, BTreeSet};

    const PORTS: &str = "ports: ['80:8080', '127.0.0.1:53:53/udp']";

    fn told(text: &str, change: impl FnOnce(&mut Observed)) -> Vec<String> {
        let (project, memory) = (project(text), memory());
        let mut observed = converged(&project);
        change(&mut observed);
        let (nothing, none, starts) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        let now = jiff::Timestamp::now();
        let recent = Recent {
            held: &nothing,
            due: &nothing,
            versions: &memory.versions,
            edited: &none,
            paused: &nothing,
            starts: &starts,
            busy: &nothing,
            exchanged: &memory.exchanged,
            now,
        };
        let places = all_places(&project, &observed, recent);
        let route = |route: &crate::host_ports::Route| {
            let targets: Vec<String> = route.targets.iter().map(|target| target.address.to_string()).collect();
            format!("{} to {}", route.listen, targets.join(" "))
        };
        routes(&project, &observed, &places, true).iter().map(route).collect()
    }

    #[test]
    fn each_held_port_leads_to_the_container_and_all_addresses_are_of_both_families() {
        let text = format!("services: {{web: {{image: web, {PORTS}, healthcheck: {{test: 'true'}}}}}}\n");
        assert_eq!(
            told(&text, |_| {}),
            [
                "127.0.0.1:53/udp to 172.18.0.2:53",
                "0.0.0.0:80/tcp to 172.18.0.2:8080",
                "[::]:80/tcp to 172.18.0.2:8080"
            ]
        );
        assert_eq!(label(&project(&text).services["web"]), "127.0.0.1:53->53/udp, 0.0.0.0:80->8080/tcp");
        let absent = told(&text, |observed| observed.containers.clear());
        assert_eq!(absent[0], "127.0.0.1:53/udp to ", "clients wait");
    }
}

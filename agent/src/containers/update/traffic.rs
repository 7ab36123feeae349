use super::place::{Phase, Place};
use crate::containers::compose::{Attachment, Order, Port, Project, Service};
use crate::containers::observed::{Container, Health, Observed, State};
use crate::host_ports::{Listen, Protocol, Route, Target};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The service's own label by which an operator leaves its ports to the engine, and ours on containers without ports
/// of the engine, which says what is published for them.
pub const LABEL: &str = "io.hostwright.ports";
const LEFT_TO_ENGINE: &str = "engine";
/// And by which all of its clients come through the process that holds the ports.
const FORWARDER_ALONE: &str = "forwarder";

/// Whether the agent holds a service's ports itself, so that its container can be exchanged behind them.
///
/// It does where that makes a difference: fixed ports, and a health check or a word of the file that allows a second
/// container at the same time. All else is left to the engine.
pub fn is_held(project: &Project, service: &Service) -> bool {
    let wanted = project.has_healthcheck(service)
        || service.rollout.update.order == Some(Order::StartFirst)
        || service.rollout.replicas > 1;
    wanted
        && !service.ports.is_empty()
        && matches!(service.attachment, Attachment::Networks(_))
        && service.labels.get(LABEL).map(String::as_str) != Some(LEFT_TO_ENGINE)
        && service.ports.iter().all(|port| listen(port).is_some())
}

/// What is published: `0.0.0.0:8080->80/tcp`, as `docker ps` has it. It is the label on a held container.
pub fn label(service: &Service) -> String {
    let one = |port: &Port| {
        let address = port.host_ip.as_deref().unwrap_or("0.0.0.0");
        // Where the file gives no port the engine chooses one.
        let host = port.host.as_deref().unwrap_or("*");
        format!("{address}:{host}->{}/{}", port.container, port.protocol)
    };
    service.ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

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

/// The address that a port names; none where the engine is to choose one, or speaks what we do not.
fn listen(port: &Port) -> Option<Listen> {
    let protocol = match port.protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let host = port.host.as_deref()?.parse().ok()?;
    let address: IpAddr = match &port.host_ip {
        Some(text) => text.parse().ok()?,
        None => Ipv4Addr::UNSPECIFIED.into(),
    };
    Some(Listen { protocol, address: SocketAddr::new(address, host) })
}

#[cfg(test)]
mod tests {
    use super::{is_held, label, routes};
    use crate::containers::fixture::{converged, memory, project};
    use crate::containers::observed::Observed;
    use crate::containers::plan::{Recent, all_places};
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

    #[test]
    fn only_fixed_ports_of_services_that_can_be_exchanged_are_held() {
        for (service, expected) in [
            ("ports: ['80:80'], healthcheck: {test: 'true'}", true),
            ("ports: ['80:80'], deploy: {update_config: {order: start-first}}", true),
            ("ports: ['80:80'], deploy: {replicas: 2}", true),
            ("ports: ['80:80']", false),
            ("ports: ['80'], healthcheck: {test: 'true'}", false),
            ("ports: ['80-89:80'], healthcheck: {test: 'true'}", false),
            ("ports: ['80:80/sctp'], healthcheck: {test: 'true'}", false),
            ("ports: ['80:80'], healthcheck: {test: 'true'}, labels: {io.hostwright.ports: engine}", false),
            ("ports: ['80:80'], healthcheck: {test: 'true'}, network_mode: bridge", false),
        ] {
            let project = project(&format!("services: {{web: {{image: web, {service}}}}}\n"));
            assert_eq!(is_held(&project, &project.services["web"]), expected, "{service}");
        }
    }
    #[test]
    fn the_check_of_an_image_counts_unless_the_file_says_otherwise() {
        for (check, expected) in
            [("", true), (", healthcheck: {interval: 5s}", true), (", healthcheck: {disable: true}", false)]
        {
            let mut project = project(&format!("services: {{web: {{image: web, ports: ['80:80']{check}}}}}\n"));
            assert!(!is_held(&project, &project.services["web"]), "{check}");
            project.checked.insert("web".into());
            assert_eq!(is_held(&project, &project.services["web"]), expected, "{check}");
        }
    }
}

use super::held_ports;
use crate::containers::compose::{Attachment, Order, Pace, Project, Service, Source};
use crate::containers::observed::Container;

/// Folders in which databases keep their files. Two of them on the same files destroy them.
const OF_DATABASES: [&str; 3] = ["/var/lib", "/data", "/bitnami"];

/// Which comes first when this container of a service is exchanged at a pace, with the reason.
///
/// Where two at once are not possible the file is not asked. Else the `order` that it gives counts. Else a
/// service with published ports and a health check is started first, unless it writes to a volume of its own or to
/// where databases keep their files.
pub fn order(project: &Project, name: &str, old: Option<&Container>, pace: &Pace) -> (Order, &'static str) {
    let service = &project.services[name];
    if old.is_some_and(|old| old.has_host_ports) || (has_fixed_ports(service) && !held_ports::is_held(project, service))
    {
        return (Order::StopFirst, "the engine itself publishes its ports");
    }
    if has_fixed_address(service) {
        return (Order::StopFirst, "it has a fixed address");
    }
    if let Some(order) = pace.order {
        return (order, "the file says so");
    }
    if !matches!(service.attachment, Attachment::Networks(_)) {
        return (Order::StopFirst, "it has no network of its own");
    }
    if service.ports.is_empty() || !project.has_healthcheck(service) {
        return (Order::StopFirst, "it has no published port with a health check");
    }
    if writes_alone(project, name) {
        return (Order::StopFirst, "it writes to data that two must not share; order: start-first allows it");
    }
    (Order::StartFirst, "it has published ports and a health check")
}

fn has_fixed_ports(service: &Service) -> bool {
    service.ports.iter().any(|port| port.host.as_ref().is_some_and(|host| !host.contains('-')))
}

fn has_fixed_address(service: &Service) -> bool {
    service.attachment.networks().any(|(_, end)| end.ipv4_address.is_some() || end.ipv6_address.is_some())
}

/// Whether a service has data for itself: a named volume that no other service mounts, or a database's folder.
fn writes_alone(project: &Project, name: &str) -> bool {
    project.services[name].mounts.iter().filter(|mount| !mount.read_only).any(|mount| match &mount.source {
        Source::Volume { key, .. } => {
            let others = project.services.iter().filter(|(other, _)| *other != name);
            !others
                .flat_map(|(_, other)| &other.mounts)
                .any(|mount| matches!(&mount.source, Source::Volume { key: used, .. } if used == key))
        }
        Source::Bind { .. } => OF_DATABASES.iter().any(|folder| {
            mount.target.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
        Source::Tmpfs { .. } | Source::Anonymous | Source::Image { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::order;
    use crate::containers::compose::Order::{self, StartFirst, StopFirst};
    use crate::containers::fixture::{converged, project};

    fn of(service: &str) -> Order {
        let text = format!(
            "services:\n  web: {{image: web, {service}}}\n  other: {{image: web, volumes: ['shared:/www']}}\n\
             volumes: {{own: , shared: }}\nnetworks: {{fixed: {{ipam: {{config: [{{subnet: 172.30.0.0/24}}]}}}}}}\n"
        );
        let project = project(&text);
        let pace = &project.services["web"].rollout.update;
        order(&project, "web", converged(&project).of_service("web"), pace).0
    }

    #[test]
    fn published_ports_and_a_health_check_start_first_unless_two_must_not_be() {
        const WEB: &str = "ports: ['8080:80'], healthcheck: {test: 'true'}";
        for (extra, expected) in [
            ("", StartFirst),
            (", container_name: web", StartFirst),
            (", volumes: ['./logs:/app/logs', 'shared:/www']", StartFirst),
            (", volumes: ['own:/www:ro']", StartFirst),
            (", volumes: ['own:/app']", StopFirst),
            (", volumes: ['./db:/var/lib/postgresql/data']", StopFirst),
            (", volumes: ['own:/app'], deploy: {update_config: {order: start-first}}", StartFirst),
            (", deploy: {update_config: {order: stop-first}}", StopFirst),
            (", networks: {fixed: {ipv4_address: 172.30.0.9}}", StopFirst),
            (", labels: {io.hostwright.ports: engine}", StopFirst),
        ] {
            assert_eq!(of(&format!("{WEB}{extra}")), expected, "{extra}");
        }
        for (service, expected) in [
            ("ports: ['8080:80']", StopFirst),
            ("ports: ['8080:80'], healthcheck: {disable: true}", StopFirst),
            ("healthcheck: {test: 'true'}", StopFirst),
            ("healthcheck: {test: 'true'}, deploy: {update_config: {order: start-first}}", StartFirst),
            ("network_mode: host, healthcheck: {test: 'true'}", StopFirst),
            ("network_mode: host, deploy: {update_config: {order: start-first}}", StartFirst),
            ("ports: ['8000-8009:80'], healthcheck: {test: 'true'}", StartFirst),
        ] {
            assert_eq!(of(service), expected, "{service}");
        }
    }

    #[test]
    fn ports_that_the_engine_publishes_for_the_old_container_are_given_back_first() {
        let project = project("services: {web: {image: web, ports: ['80:80'], healthcheck: {test: 'true'}}}\n");
        let mut old = converged(&project).containers.remove(0);
        old.has_host_ports = true;
        let pace = &project.services["web"].rollout.update;
        assert_eq!(order(&project, "web", Some(&old), pace).0, StopFirst);
    }
}

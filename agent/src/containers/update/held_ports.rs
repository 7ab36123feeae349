use crate::containers::compose::{Attachment, Order, Port, Project, Service};
use crate::host_ports::{Listen, Protocol};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The service's own label by which an operator leaves its ports to the engine, and ours on containers without ports
/// of the engine, which says what is published for them.
pub const LABEL: &str = "io.hostwright.ports";
const LEFT_TO_ENGINE: &str = "engine";
/// And by which all of its clients come through the process that holds the ports.
pub(super) const FORWARDER_ALONE: &str = "forwarder";

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

/// The address that a port names; none where the engine is to choose one, or speaks what we do not.
pub(super) fn listen(port: &Port) -> Option<Listen> {
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
    use super::is_held;
    use crate::containers::fixture::project;

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

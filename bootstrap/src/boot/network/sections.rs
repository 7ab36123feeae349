use super::state::{Dns, Route};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Sections with their lines: sorted, each once. Of some there are several.
#[derive(Default)]
pub struct Sections {
    single: BTreeMap<&'static str, BTreeSet<String>>,
    /// With further lines of each.
    pub(super) addresses: BTreeMap<String, Vec<String>>,
    /// By where they come from: a gateway, everybody's, the interface's own.
    pub(super) routes: BTreeMap<String, BTreeSet<String>>,
    pub(super) rules: Vec<Vec<String>>,
}

impl Sections {
    /// Adds a line.
    pub fn add(&mut self, section: &'static str, key: &str, value: &str) {
        self.line(section, &format!("{key}={value}"));
    }

    /// Adds a line that is whole already.
    pub fn line(&mut self, section: &'static str, line: &str) {
        self.single.entry(section).or_default().insert(one_line(line));
    }

    pub(super) fn route(&mut self, id: String, route: &Route) {
        let lines = self.routes.entry(id).or_default();
        lines.insert(format!("Destination={}", route.destination));
        lines.extend(route.gateway.iter().map(|gateway| format!("Gateway={gateway}")));
        lines.extend(route.metric.iter().map(|metric| format!("Metric={metric}")));
        lines.extend(route.on_link.then(|| "GatewayOnLink=yes".to_owned()));
        lines.extend(route.further.iter().map(|line| one_line(line)));
    }

    pub(super) fn dns(&mut self, dns: &Dns) {
        for (key, values) in [("DNS", &dns.servers), ("Domains", &dns.search)] {
            if !values.is_empty() {
                self.add("Network", key, &values.join(" "));
            }
        }
    }

    /// The file.
    pub fn text(self) -> String {
        let mut out = String::new();
        for (address, lines) in self.addresses {
            let _ = write!(out, "[Address]\nAddress={address}\n");
            lines.iter().for_each(|line| out.push_str(&format!("{}\n", one_line(line))));
            out.push('\n');
        }
        for (section, lines) in self.single {
            let _ = write!(out, "[{section}]\n{}\n\n", lines.into_iter().collect::<Vec<_>>().join("\n"));
        }
        for lines in self.routes.into_values() {
            let _ = write!(out, "[Route]\n{}\n\n", lines.into_iter().collect::<Vec<_>>().join("\n"));
        }
        for lines in self.rules {
            let lines: Vec<_> = lines.iter().map(|line| one_line(line)).collect();
            let _ = write!(out, "[RoutingPolicyRule]\n{}\n\n", lines.join("\n"));
        }
        out
    }
}

/// A line break would begin a line of its own.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

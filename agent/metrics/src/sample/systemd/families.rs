use super::unit::{Property, STATES, Unit};
use crate::encode::{Encoder, Family, Labels};

const MICROSECONDS: f64 = 1e6;

/// What is written of units.
pub struct Families {
    state: Family,
    start_time: Family,
    tasks: Family,
    most_tasks: Family,
    restarts: Family,
    last_trigger: Family,
    accepted: Family,
    connections: Family,
    refused: Family,
    units: Family,
    running: Family,
    version: Family,
    virtualization: Family,
}

/// What systemd says of itself.
pub struct Manager<'a> {
    /// How many units are in each state, the others' too.
    pub counts: &'a [(String, Labels, u64)],
    pub is_running: Option<bool>,
    pub version: (&'a Labels, f64),
    pub virtualization: &'a Labels,
}

impl Families {
    pub fn new() -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_systemd_{name}"), help);
        let counter = |name: &str, help: &str| Family::counter(&format!("node_systemd_{name}"), help);
        Self {
            state: gauge("unit_state", "Systemd unit"),
            start_time: gauge("unit_start_time_seconds", "Start time of the unit since unix epoch in seconds."),
            tasks: gauge("unit_tasks_current", "Current number of tasks per Systemd unit"),
            most_tasks: gauge("unit_tasks_max", "Maximum number of tasks per Systemd unit"),
            restarts: counter("service_restart_total", "Service unit count of Restart triggers"),
            last_trigger: gauge("timer_last_trigger_seconds", "Seconds since epoch of last trigger."),
            accepted: counter("socket_accepted_connections_total", "Total number of accepted socket connections"),
            connections: gauge("socket_current_connections", "Current number of socket connections"),
            // A gauge in the original, whatever its name says.
            refused: gauge("socket_refused_connections_total", "Total number of refused socket connections"),
            units: gauge("units", "Summary of systemd unit states"),
            running: gauge("system_running", "Whether the system is operational (see 'systemctl is-system-running')"),
            version: gauge("version", "Detected systemd version"),
            virtualization: gauge("virtualization_info", "Detected virtualization technology"),
        }
    }

    /// Writes what systemd says of itself.
    pub fn write_manager(&self, out: &mut Encoder, manager: &Manager<'_>) {
        let (labels, version) = manager.version;
        out.family(&self.version).with(labels, version);
        out.family(&self.virtualization).with(manager.virtualization, true);
        if let Some(is_running) = manager.is_running {
            out.family(&self.running).put(is_running);
        }
        let mut samples = out.family(&self.units);
        let told = |state: &str, count| count > 0 || STATES.contains(&state);
        for (_, labels, count) in manager.counts.iter().filter(|(state, _, count)| told(state, *count)) {
            samples.with(labels, *count);
        }
    }

    /// Writes what is known of units.
    pub fn write_units(&self, out: &mut Encoder, units: &[Unit], start_times: bool) {
        let mut samples = out.family(&self.state);
        for unit in units {
            for (at, labels) in unit.state_labels.iter().enumerate() {
                samples.with(labels, unit.is_in(at));
            }
        }
        if start_times {
            let seconds = |unit: &Unit| unit.active_since().map(|time| time as f64 / MICROSECONDS);
            write(out, &self.start_time, units, seconds);
        }
        write(out, &self.tasks, units, |unit| unit.finite(Property::Tasks));
        write(out, &self.most_tasks, units, |unit| unit.finite(Property::MostTasks));
        write(out, &self.restarts, units, |unit| unit.number(Property::Restarts));
        let seconds = |unit: &Unit| unit.number(Property::LastTrigger).map(|time| time as f64 / MICROSECONDS);
        write(out, &self.last_trigger, units, seconds);
        write(out, &self.accepted, units, |unit| unit.number(Property::Accepted));
        write(out, &self.connections, units, |unit| unit.number(Property::Connections));
        write(out, &self.refused, units, |unit| unit.number(Property::Refused));
    }
}

fn write<V: crate::encode::Value>(
    out: &mut Encoder,
    family: &Family,
    units: &[Unit],
    value: impl Fn(&Unit) -> Option<V>,
) {
    let mut samples = out.family(family);
    for unit in units {
        if let Some(value) = value(unit) {
            samples.with(&unit.labels, value);
        }
    }
}

use super::rollout::Rollout;
use super::values::{Bytes, Integer, NanoCpus};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a container may use at most. From `mem_limit` and its like, or from `deploy.resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
}

impl Limits {
    /// Reads them from both places, with the rest of `deploy`; the same limit in both is refused.
    pub fn read(section: &mut Section<'_>) -> (Self, Rollout) {
        let own = Self {
            memory: section.optional::<Bytes>("mem_limit").map(|bytes| bytes.0),
            memory_reservation: section.optional::<Bytes>("mem_reservation").map(|bytes| bytes.0),
            nano_cpus: section.optional::<NanoCpus>("cpus").map(|cpus| cpus.0),
            pids: section.optional::<Integer>("pids_limit").map(|pids| pids.0),
        };
        let (deployed, rollout) = section.section("deploy", deploy).unwrap_or_default();
        for (key, twice) in [
            ("mem_limit", own.memory.is_some() && deployed.memory.is_some()),
            ("mem_reservation", own.memory_reservation.is_some() && deployed.memory_reservation.is_some()),
            ("cpus", own.nano_cpus.is_some() && deployed.nano_cpus.is_some()),
            ("pids_limit", own.pids.is_some() && deployed.pids.is_some()),
        ] {
            if twice {
                section.problem_with(key, "is given under deploy.resources too; leave one of them out");
            }
        }
        let limits = Self {
            memory: own.memory.or(deployed.memory),
            memory_reservation: own.memory_reservation.or(deployed.memory_reservation),
            nano_cpus: own.nano_cpus.or(deployed.nano_cpus),
            pids: own.pids.or(deployed.pids),
        };
        (limits, rollout)
    }
}

fn deploy(mut section: Section<'_>) -> Option<(Limits, Rollout)> {
    let limits = section.section("resources", resources);
    if section.optional::<String>("mode").is_some_and(|mode| mode != "replicated") {
        section.problem_with("mode", "is not supported yet; leave it out");
    }
    let rollout = Rollout::read(&mut section);
    section.refuse("restart_policy", "is not supported yet; use restart");
    for key in ["endpoint_mode", "labels", "placement", "rollback_config"] {
        section.refuse(key, "is not supported yet");
    }
    section.allow_extensions();
    section.finish();
    Some((limits.unwrap_or_default(), rollout))
}

fn resources(mut section: Section<'_>) -> Option<Limits> {
    let mut limits = section
        .section("limits", |mut section| {
            let limits = Limits {
                memory: section.optional::<Bytes>("memory").map(|bytes| bytes.0),
                memory_reservation: None,
                nano_cpus: section.optional::<NanoCpus>("cpus").map(|cpus| cpus.0),
                pids: section.optional::<Integer>("pids").map(|pids| pids.0),
            };
            section.finish();
            Some(limits)
        })
        .unwrap_or_default();
    limits.memory_reservation = section.section("reservations", |mut section| {
        let memory = section.optional::<Bytes>("memory");
        for key in ["cpus", "pids", "devices", "generic_resources"] {
            section.refuse(key, "is not supported yet");
        }
        section.finish();
        memory.map(|bytes| bytes.0)
    });
    section.finish();
    Some(limits)
}

/// The two values of one of the kernel's limits for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

/// Reads `ulimits`.
pub fn ulimits(section: &mut Section<'_>) -> BTreeMap<String, Ulimit> {
    let Some(node) = section.node("ulimits") else { return BTreeMap::new() };
    let Some(mapping) = node.mapping() else {
        section.problem_with("ulimits", "expected limits such as {nofile: 65536}");
        return BTreeMap::new();
    };
    let limit = |value: &Node, section: &Section<'_>| {
        if value.mapping().is_none() {
            return section.value::<Integer>("ulimits", value).map(|both| Ulimit { soft: both.0, hard: both.0 });
        }
        let mut item = section.item("ulimits", value)?;
        let (soft, hard) = (item.required::<Integer>("soft"), item.required::<Integer>("hard"));
        item.finish();
        Some(Ulimit { soft: soft?.0, hard: hard?.0 })
    };
    let limits = mapping.entries.iter().map(|entry| (entry.key.clone(), limit(&entry.value, section)));
    limits.filter_map(|(name, limit)| Some((name, limit?))).collect()
}

use super::model::{Tree, Value};
use super::read;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a container may use. From `mem_limit` and its like, or from `deploy.resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<i64>,
    /// Memory and swap together; -1 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oom_kill_disable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio: Option<Blkio>,
}

/// How much a container may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Blkio {
    pub weight: Option<i64>,
    /// By device.
    pub weights: Vec<(String, i64)>,
    pub read_bps: Vec<(String, i64)>,
    pub read_iops: Vec<(String, i64)>,
    pub write_bps: Vec<(String, i64)>,
    pub write_iops: Vec<(String, i64)>,
}

/// A limit of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

impl Limits {
    /// Where both places give one, they agree.
    pub fn read(service: &Tree) -> Self {
        let resources = service.get("deploy").and_then(|deploy| deploy.get("resources"));
        let limits = resources.and_then(|resources| resources.get("limits"));
        let reserved = resources.and_then(|resources| resources.get("reservations"));
        let deployed = |side: Option<&Tree>, key| side.and_then(|side| read::integer(side, key));
        let own = |key| read::integer(service, key);
        Self {
            memory: own("mem_limit").or(deployed(limits, "memory")),
            memory_reservation: own("mem_reservation").or(deployed(reserved, "memory")),
            memory_swap: own("memswap_limit"),
            memory_swappiness: own("mem_swappiness"),
            nano_cpus: read::nano_cpus(service, "cpus").or(limits.and_then(|limits| read::nano_cpus(limits, "cpus"))),
            cpu_shares: own("cpu_shares"),
            cpu_period: own("cpu_period"),
            cpu_quota: own("cpu_quota"),
            cpu_rt_period: own("cpu_rt_period"),
            cpu_rt_runtime: own("cpu_rt_runtime"),
            cpuset: read::text(service, "cpuset"),
            pids: own("pids_limit").or(deployed(limits, "pids")),
            shm_size: own("shm_size"),
            oom_score_adj: own("oom_score_adj"),
            oom_kill_disable: read::is_set(service, "oom_kill_disable"),
            blkio: service.get("blkio_config").map(Blkio::read),
        }
    }
}

impl Blkio {
    fn read(tree: &Tree) -> Self {
        // The canonical model writes these keys with capitals, as Compose does.
        let devices = |key: &str, value: &str| {
            let device = |item: &Tree| Some((read::text(item, "Path")?, read::integer(item, value)?));
            read::list(tree, key).iter().filter_map(device).collect()
        };
        Self {
            weight: read::integer(tree, "weight"),
            weights: devices("weight_device", "Weight"),
            read_bps: devices("device_read_bps", "Rate"),
            read_iops: devices("device_read_iops", "Rate"),
            write_bps: devices("device_write_bps", "Rate"),
            write_iops: devices("device_write_iops", "Rate"),
        }
    }
}

/// Reads `ulimits`.
pub fn ulimits(service: &Tree) -> BTreeMap<String, Ulimit> {
    let limit = |tree: &Tree| match tree.value {
        Value::Int(both) => Ulimit { soft: both, hard: both },
        // Zero does not show.
        _ => Ulimit { soft: read::integer(tree, "soft").unwrap_or(0), hard: read::integer(tree, "hard").unwrap_or(0) },
    };
    read::members(service, "ulimits").map(|(name, tree)| (name.clone(), limit(tree))).collect()
}

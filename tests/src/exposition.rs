//! What an exporter answered, and how two of them are compared.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Major and minor number of a version of node_exporter.
pub type Version = (u32, u32);

/// What families and labels are compared with; what it added is not asked of older ones.
pub const NEWEST: Version = (1, 11);

/// How the names of families begin that versions after 1.5 added.
const ADDED: &[&str] = &[
    "node_bcachefs_",
    "node_btrfs_commit",
    "node_btrfs_last_commit_seconds",
    "node_btrfs_max_commit_seconds",
    "node_cpu_online",
    "node_cpu_scaling_governor",
    "node_filesystem_mount_info",
    "node_filesystem_purgeable_bytes",
    "node_kernel_hung_",
    "node_md_degraded",
    "node_md_raid_disks",
    "node_netstat_TcpExt_TCPOFOQueue",
    "node_netstat_TcpExt_TCPRcvQDrop",
    "node_network_receive_nohandler_total",
    r#"node_nfsd_requests_total{method="SetClientID"#,
    r#"node_nfsd_requests_total{method="WdelegGetattr"#,
    "node_nvme_namespace_",
    "node_os_support_end_timestamp_seconds",
    "node_pressure_irq_stalled_seconds_total",
    // Of collectors that it does not have.
    "node_scrape_collector_",
    "node_softirqs_",
    "node_softnet_backlog_len",
    "node_softnet_cpu_collision_total",
    "node_softnet_flow_limit_count_total",
    "node_softnet_received_rps_total",
    "node_systemd_virtualization_info",
    "node_watchdog_",
    "node_zfs_arc_arc_need_free",
    "node_zfs_arc_memory_available_bytes",
    "node_zfs_dbuf_",
    r#"node_zfs_zpool_state{state="suspended"#,
    "node_zswap_",
];

/// Labels that versions after 1.5 added, with their families.
const LABELLED: &[(&str, &str)] = &[
    ("node_disk_info", "rotational"),
    ("node_filesystem_", "device_error"),
    ("node_mountstats_nfs_transport_", "transport"),
    ("node_network_info", "adminstate"),
    ("node_nvme_info", "cntlid"),
];

/// How the names of families begin that versions after 1.5 explain in other words.
const REWORDED: &[&str] = &["node_cpu_frequency_"];

/// Header lines by family, values by series with the labels in one order.
#[derive(Debug)]
pub struct Exposition {
    pub families: BTreeMap<String, Vec<String>>,
    pub series: BTreeMap<String, f64>,
}

impl Exposition {
    /// Without what each exporter says of itself.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parsed = Self { families: BTreeMap::new(), series: BTreeMap::new() };
        for line in text.lines().filter(|line| is_of_the_host(line)) {
            if let Some(header) = line.strip_prefix("# ") {
                let name = header.split(' ').nth(1).context("a header without name")?;
                let lines = parsed.families.entry(name.to_owned()).or_default();
                ensure!(lines.len() < 2, "{name} has more than one header");
                lines.push(header.to_owned());
                continue;
            }
            let (series, value) = line.rsplit_once(' ').context("a sample without value")?;
            // To Prometheus, a label without a value is none; newer versions write this one on mounts that answer.
            let series = series.replace(r#",device_error="""#, "");
            let known = parsed.series.insert(in_order(&series), value.parse()?);
            ensure!(known.is_none(), "{series} is there twice");
        }
        Ok(parsed)
    }

    /// What is wrong with ours, which was taken between the two of the original, whose version may be an older one.
    /// What came or went meanwhile is neither required nor refused; what stayed the same must be the same.
    pub fn wrong(&self, before: &Self, after: &Self, version: Version) -> Vec<String> {
        let mut wrong = Vec::new();
        for (family, header) in &before.families {
            match self.families.get(family) {
                _ if !after.families.contains_key(family) => {}
                None => wrong.push(format!("the family {family} is missing")),
                Some(_) if version < NEWEST && REWORDED.iter().any(|name| family.starts_with(name)) => {}
                Some(own) if own != header => wrong.push(format!("{own:?} in place of {header:?}")),
                Some(_) => {}
            }
        }
        let own: BTreeMap<String, f64> =
            self.series.iter().map(|(series, value)| (without_newer_labels(series, version), *value)).collect();
        for series in own.keys().filter(|series| !is_newer(series, version)) {
            if !before.series.contains_key(series) && !after.series.contains_key(series) {
                wrong.push(format!("the original has no {series}"));
            }
        }
        for (series, value) in before.series.iter().filter(|(series, _)| after.series.contains_key(*series)) {
            let measured = series.starts_with("node_scrape_collector_duration_seconds");
            match own.get(series) {
                None => wrong.push(format!("the series {series} is missing")),
                Some(own) if !same(after.series[series], *value) || same(*own, *value) || measured => {}
                Some(own) => wrong.push(format!("{series} is {own} in place of {value}")),
            }
        }
        wrong
    }
}

/// Equal, and one that is no number is equal to another one.
fn same(one: f64, other: f64) -> bool {
    one == other || (one.is_nan() && other.is_nan())
}

fn is_of_the_host(line: &str) -> bool {
    let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
    // Ours by default, for a dashboard that is for the original with more fields than its default.
    let is_added = name.starts_with("node_netstat_Tcp_MaxConn");
    name.starts_with("node_") && !name.starts_with("node_exporter_") && !is_added
}

fn is_newer(series: &str, version: Version) -> bool {
    version < NEWEST && ADDED.iter().any(|name| series.starts_with(name))
}

fn without_newer_labels(series: &str, version: Version) -> String {
    let newer = |label: &str| LABELLED.iter().any(|(family, name)| series.starts_with(family) && label == *name);
    match split(series) {
        Some((name, mut labels)) if version < NEWEST => {
            labels.retain(|pair| pair.split_once('=').is_none_or(|(label, _)| !newer(label)));
            joined(name, &labels)
        }
        _ => series.to_owned(),
    }
}

/// `a{y="2",x="1"}` → `a{x="1",y="2"}`.
fn in_order(series: &str) -> String {
    let Some((name, mut labels)) = split(series) else { return series.to_owned() };
    labels.sort_unstable();
    joined(name, &labels)
}

fn joined(name: &str, labels: &[&str]) -> String {
    format!("{name}{{{}}}", labels.join(","))
}

/// The name, and each label with its value.
fn split(series: &str) -> Option<(&str, Vec<&str>)> {
    let (name, mut rest) = series.strip_suffix('}').and_then(|rest| rest.split_once('{'))?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let opening = rest.find('"')?;
        let mut escaped = false;
        let closing = rest[opening + 1..].find(|character| {
            let closes = character == '"' && !escaped;
            escaped = character == '\\' && !escaped;
            closes
        })?;
        let end = opening + 1 + closing + 1;
        labels.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(',');
    }
    Some((name, labels))
}

#[cfg(test)]
mod tests {
    use super::{Exposition, in_order};

    const OURS: &str = "# HELP node_a A.\n# TYPE node_a gauge\nnode_a{y=\"2\",x=\"1,\\\"}\"} 1\nnode_b NaN\n";

    fn wrong(original: &str) -> Vec<String> {
        let (ours, original) = (Exposition::parse(OURS).expect("ours"), Exposition::parse(original).expect("theirs"));
        ours.wrong(&original, &original, (1, 5))
    }

    #[test]
    fn the_order_of_labels_and_lines_is_no_difference() {
        assert_eq!(in_order(r#"a{y="\\",x="a,b\""}"#), r#"a{x="a,b\"",y="\\"}"#);
        let other = "node_b NaN\n# HELP node_a A.\n# TYPE node_a gauge\nnode_a{x=\"1,\\\"}\",y=\"2\"} 1e0\n";
        assert_eq!(wrong(other), Vec::<String>::new());
    }

    #[test]
    fn headers_series_and_values_that_differ_are_told() {
        let other = "# HELP node_a B.\n# TYPE node_a gauge\nnode_a{x=\"1\",y=\"2\"} 1\nnode_b 2\n";
        assert_eq!(wrong(other).len(), 4, "{:?}", wrong(other));
    }

    #[test]
    fn what_a_newer_version_added_is_not_asked_of_an_older_one() {
        let newer = "node_disk_info{device=\"sda\",rotational=\"1\"} 1\nnode_softnet_backlog_len 1\n";
        let newer = Exposition::parse(newer).expect("newer");
        let older = Exposition::parse("node_disk_info{device=\"sda\"} 1\n").expect("older");
        assert_eq!(newer.wrong(&older, &older, (1, 5)), Vec::<String>::new());
        assert_eq!(newer.wrong(&older, &older, (1, 11)).len(), 3);
    }
}

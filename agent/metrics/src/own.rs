use super::encode::{Encoder, Family, Labels};
use super::handled::{Handled, Requests};
use super::measured::Measured;
use super::push::samples::RemoteWrite;
use super::push::watch::Watch;
use super::sample::{KernelFile, lines, number, words};
use hostwright_duty::supervisor::Statuses;
use nix::unistd::{SysconfVar, sysconf};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

const TICKS_PER_SECOND: f64 = 100.0;
/// The names of a duty's states, as the status has them.
const STATES: [&str; 4] = ["starting", "ok", "degraded", "failed"];

/// The agent's own metrics: its duties, and the process that it is.
pub struct Own {
    statuses: watch::Receiver<Statuses>,
    build: Family,
    build_labels: Labels,
    exporter: Family,
    exporter_labels: Labels,
    ready: Family,
    status: Family,
    restarts: Family,
    /// For each duty: its own labels, then those with each state.
    labels: BTreeMap<&'static str, (Labels, [Labels; STATES.len()])>,
    measured: Measured,
    process: Process,
    remote_write: RemoteWrite,
    requests: Requests,
}

impl Own {
    /// What the agent says of itself while the supervisor tells it how the duties are, `receivers` how it goes with
    /// those of remote_write, and `handled` what became of requests.
    pub fn new(statuses: watch::Receiver<Statuses>, receivers: Watch, handled: Arc<Handled>) -> Self {
        Self {
            statuses,
            build: Family::gauge(
                "hostwright_build_info",
                "A metric with a constant '1' value labeled by the agent's version.",
            ),
            build_labels: Labels::new(&[("version", env!("CARGO_PKG_VERSION").as_bytes())]),
            exporter: Family::gauge(
                "node_exporter_build_info",
                "A metric with a constant '1' value labeled by version, revision, branch, goversion from which \
                 node_exporter was built, and the goos and goarch for the build.",
            ),
            exporter_labels: exporter_labels(),
            ready: Family::gauge(
                "hostwright_ready",
                "Whether every duty has been ok since the agent started, 1 is true.",
            ),
            status: Family::gauge(
                "hostwright_duty_status",
                "How each duty is: 1 for the state that it is in, 0 for the others.",
            ),
            restarts: Family::counter(
                "hostwright_duty_restarts_total",
                "How often each duty was started again after an error.",
            ),
            labels: BTreeMap::new(),
            measured: Measured::default(),
            process: Process::new(),
            remote_write: RemoteWrite::new(receivers),
            requests: Requests::new(handled),
        }
    }

    /// Writes all of them.
    pub fn write(&mut self, out: &mut Encoder) {
        out.family(&self.build).with(&self.build_labels, true);
        out.family(&self.exporter).with(&self.exporter_labels, true);
        // The lock is held while the few duties are written, and nothing waits meanwhile.
        let statuses = self.statuses.borrow();
        out.family(&self.ready).put(statuses.ready());
        for duty in statuses.duties.keys() {
            self.labels.entry(duty).or_insert_with(|| labels_of(duty));
        }
        let mut samples = out.family(&self.status);
        for (duty, row) in &statuses.duties {
            for (state, labels) in STATES.iter().zip(&self.labels[duty].1) {
                samples.with(labels, row.status.name() == *state);
            }
        }
        let mut samples = out.family(&self.restarts);
        for (duty, row) in &statuses.duties {
            samples.with(&self.labels[duty].0, u64::from(row.restarts));
        }
        self.measured.write(&statuses.measures, out);
        drop(statuses);
        self.process.write(out);
        self.remote_write.write(out);
        self.requests.write(out);
    }
}

/// By this family some dashboards find the hosts; what stands here for node_exporter is told by its labels.
fn exporter_labels() -> Labels {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Labels::new(&[
        ("goarch", architecture.as_bytes()),
        ("goos", b"linux"),
        ("revision", b"hostwright"),
        ("version", env!("CARGO_PKG_VERSION").as_bytes()),
    ])
}

fn labels_of(duty: &str) -> (Labels, [Labels; STATES.len()]) {
    let duty = ("duty", duty.as_bytes());
    (Labels::new(&[duty]), STATES.map(|state| Labels::new(&[duty, ("state", state.as_bytes())])))
}

/// The families that every Prometheus client library has of its process.
struct Process {
    stat: KernelFile,
    limits: KernelFile,
    netstat: KernelFile,
    page: u64,
    boot_time: Option<u64>,
    cpu: Family,
    open_files: Family,
    most_files: Family,
    virtual_memory: Family,
    most_virtual_memory: Family,
    resident: Family,
    most_resident: Family,
    start: Family,
    /// Bytes received and sent.
    network: [Family; 2],
}

impl Process {
    fn new() -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("process_{name}"), help);
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
        Self {
            stat: KernelFile::new("/proc/self/stat"),
            limits: KernelFile::new("/proc/self/limits"),
            netstat: KernelFile::new("/proc/self/net/netstat"),
            page: page.unwrap_or(4096),
            boot_time: boot_time(),
            cpu: Family::counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
            open_files: gauge("open_fds", "Number of open file descriptors."),
            most_files: gauge("max_fds", "Maximum number of open file descriptors."),
            virtual_memory: gauge("virtual_memory_bytes", "Virtual memory size in bytes."),
            most_virtual_memory: gauge(
                "virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes.",
            ),
            resident: gauge("resident_memory_bytes", "Resident memory size in bytes."),
            most_resident: gauge("resident_memory_max_bytes", "Maximum amount of resident memory in bytes."),
            start: gauge("start_time_seconds", "Start time of the process since unix epoch in seconds."),
            network: [("receive", "received"), ("transmit", "sent")].map(|(name, what)| {
                let help = format!("Number of bytes {what} by the process over the network.");
                Family::counter(&format!("process_network_{name}_bytes_total"), &help)
            }),
        }
    }

    fn write(&mut self, out: &mut Encoder) {
        if let Some([user, system, start, size, resident]) =
            self.stat.read().ok().and_then(|text| numbers_of_stat(text.bytes))
        {
            out.family(&self.cpu).put(user.saturating_add(system) as f64 / TICKS_PER_SECOND);
            if let Some(boot) = self.boot_time {
                out.family(&self.start).put(boot as f64 + start as f64 / TICKS_PER_SECOND);
            }
            out.family(&self.virtual_memory).put(size);
            out.family(&self.resident).put(resident.saturating_mul(self.page));
        }
        if let Some(open) = open_files() {
            out.family(&self.open_files).put(open);
        }
        if let Some(bytes) = self.netstat.read().ok().and_then(|text| octets(text.bytes)) {
            for (family, bytes) in self.network.iter().zip(bytes) {
                out.family(family).put(bytes);
            }
        }
        let Ok(limits) = self.limits.read() else { return };
        for line in limits.lines() {
            for (name, family) in [
                (&b"Max open files"[..], &self.most_files),
                (b"Max address space", &self.most_virtual_memory),
                (b"Max resident set", &self.most_resident),
            ] {
                let Some(soft) = line.strip_prefix(name).and_then(|rest| words(rest).next()) else { continue };
                out.family(family).put(number(soft).unwrap_or(u64::MAX));
            }
        }
    }
}

/// utime, stime, starttime, vsize, rss (proc_pid_stat(5)); the name before them may hold anything.
fn numbers_of_stat(stat: &[u8]) -> Option<[u64; 5]> {
    let after = memchr::memrchr(b')', stat)? + 1;
    let fields: Vec<&[u8]> = words(stat.get(after..)?).take(22).collect();
    let mut numbers = [0; 5];
    for (slot, field) in numbers.iter_mut().zip([14, 15, 22, 23, 24]) {
        // The first one after the name is field 3.
        *slot = number(fields.get(field - 3)?)?;
    }
    Some(numbers)
}

/// What came in and went out, of `/proc/net/netstat`: it is of all processes in the network namespace, and is told of
/// this one by every client library.
fn octets(text: &[u8]) -> Option<[u64; 2]> {
    let mut lines = lines(text).filter(|line| line.starts_with(b"IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &[u8]| {
        words(names).zip(words(values)).find(|(name, _)| *name == wanted).and_then(|(_, value)| number(value))
    };
    Some([value(b"InOctets")?, value(b"OutOctets")?])
}

fn boot_time() -> Option<u64> {
    KernelFile::new("/proc/stat").read().ok()?.lines().find_map(|line| line.strip_prefix(b"btime ")).and_then(number)
}

/// Since Linux 6.2 the folder's size is the number of its entries.
fn open_files() -> Option<u64> {
    let folder = "/proc/self/fd";
    match std::fs::metadata(folder).ok()?.len() {
        0 => std::fs::read_dir(folder).ok().map(|entries| entries.count() as u64),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::{Own, numbers_of_stat};
    use crate::encode::Encoder;
    use crate::push::watch::Watch;
    use hostwright_core::status::{DutyStatus, Status};
    use hostwright_duty::supervisor::Statuses;
    use jiff::Timestamp;
    use std::sync::Arc;
    use tokio::sync::watch;

    #[test]
    fn duties_are_told_by_their_state_and_the_process_by_its_numbers() {
        let row = |status, restarts| DutyStatus {
            status,
            since: Timestamp::now(),
            restarts,
            details: serde_json::Value::Null,
        };
        let duties = [
            ("logs", row(Status::Degraded { why: "x".into() }, 3)),
            ("metrics", row(Status::Ok { summary: String::new() }, 0)),
        ];
        let statuses = Statuses {
            started: Timestamp::now(),
            duties: duties.into(),
            measures: [].into(),
            not_yet_ok: ["logs"].into(),
            draining: false,
        };
        let (_sender, receiver) = watch::channel(statuses);
        let mut out = Encoder::default();
        Own::new(receiver, Watch::default(), Arc::default()).write(&mut out);
        let text = String::from_utf8(out.take()).expect("UTF-8");
        for line in [
            "hostwright_ready 0",
            "promhttp_metric_handler_requests_in_flight 0",
            r#"hostwright_duty_status{duty="logs",state="degraded"} 1"#,
            r#"hostwright_duty_status{duty="logs",state="ok"} 0"#,
            r#"hostwright_duty_status{duty="metrics",state="ok"} 1"#,
            r#"hostwright_duty_restarts_total{duty="logs"} 3"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        for family in [
            "cpu_seconds_total",
            "open_fds",
            "max_fds",
            "virtual_memory_bytes",
            "virtual_memory_max_bytes",
            "resident_memory_bytes",
            "resident_memory_max_bytes",
            "network_receive_bytes_total",
            "network_transmit_bytes_total",
            "start_time_seconds",
        ] {
            assert!(text.contains(&format!("\nprocess_{family} ")), "{family} is not in\n{text}");
        }
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = b"7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 14 15 0 0 20 0 9 0 22 23 24 99\n";
        assert_eq!(numbers_of_stat(stat), Some([14, 15, 22, 23, 24]));
        assert_eq!(numbers_of_stat(b"7 (a) S 1"), None);
    }
}

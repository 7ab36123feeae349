//! The list of instances, for a person or a program.

use super::record::Record;
use super::store::{InstanceFolder, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::PathBuf;

/// How the list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    Table,
    /// For a program: a list of objects.
    Json,
}

/// What is shown of an instance.
#[derive(Debug)]
pub struct Row {
    name: String,
    state: State,
    folder: PathBuf,
    console: PathBuf,
    record: Option<Record>,
}

impl Row {
    /// Looks at an instance.
    ///
    /// # Errors
    /// Its folder cannot be read.
    pub fn read(folder: &InstanceFolder) -> anyhow::Result<Self> {
        Ok(Self {
            name: folder.name.to_string(),
            state: folder.state()?,
            record: Record::load(&folder.path)?,
            console: folder.console(),
            folder: folder.path.clone(),
        })
    }

    fn cells(&self, now: Timestamp) -> [String; 8] {
        let dash = || "-".to_owned();
        let record = self.record.as_ref();
        let (pid, uptime) = match self.state {
            State::Running(pid) => {
                (pid.to_string(), record.map_or_else(dash, |record| uptime(seconds_since(record.started, now))))
            }
            _ => (dash(), dash()),
        };
        let forwards = record.map(|r| r.forwards.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        [
            self.name.clone(),
            self.state.as_str().to_owned(),
            pid,
            record.map_or_else(dash, |record| record.accelerator.as_str().to_owned()),
            uptime,
            forwards.filter(|forwards| !forwards.is_empty()).unwrap_or_else(dash),
            record.map_or_else(dash, |record| record.image.clone()),
            self.console.display().to_string(),
        ]
    }

    fn json(&self, now: Timestamp) -> Value {
        let record = self.record.as_ref();
        let pid = if let State::Running(pid) = self.state { Some(pid.as_raw()) } else { None };
        json!({
            "name": self.name,
            "state": self.state.as_str(),
            "pid": pid,
            "instance_id": record.map(|record| &record.instance_id),
            "accelerator": record.map(|record| record.accelerator),
            "memory_mib": record.map(|record| record.memory),
            "cpus": record.map(|record| record.cpus),
            "started": record.map(|record| record.started),
            "uptime_seconds": pid.and(record).map(|record| seconds_since(record.started, now)),
            "forwards": record.map(|record| &record.forwards),
            "image": record.map(|record| &record.image),
            "console": self.console,
            "folder": self.folder,
        })
    }
}

/// The instances as text.
pub fn render(rows: &[Row], format: Format, now: Timestamp) -> String {
    match format {
        Format::Json => {
            let rows: Vec<_> = rows.iter().map(|row| row.json(now)).collect();
            format!("{:#}\n", Value::from(rows))
        }
        Format::Table => {
            let header = ["NAME", "STATE", "PID", "ACCEL", "UPTIME", "FORWARDS", "IMAGE", "CONSOLE"];
            let mut lines = vec![header.map(str::to_owned)];
            lines.extend(rows.iter().map(|row| row.cells(now)));
            table(&lines)
        }
    }
}

fn table<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn seconds_since(then: Timestamp, now: Timestamp) -> u64 {
    // A clock that was set back shows no time at all rather than a wrong one.
    u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0)
}

/// The two largest units: `3d 4h`, `5m 12s`.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Row, render, uptime};
    use crate::instances::accel::Accelerator;
    use crate::instances::forward::Forward;
    use crate::instances::record::Record;
    use crate::instances::store::State;
    use nix::unistd::Pid;

    fn rows() -> Vec<Row> {
        let record = Record {
            instance_id: "i-1".into(),
            image: "/image.qcow2".into(),
            accelerator: Accelerator::Kvm,
            memory: 1024,
            cpus: 2,
            forwards: vec![Forward { host: 2222, guest: 22 }, Forward { host: 9100, guest: 9100 }],
            started: "2026-01-01T00:00:00Z".parse().expect("a time"),
        };
        let row = |name: &str, state, record| Row {
            name: name.into(),
            state,
            folder: "/s".into(),
            console: "/s/console.log".into(),
            record,
        };
        vec![row("basegun", State::Running(Pid::from_raw(7)), Some(record)), row("b", State::Incomplete, None)]
    }

    #[test]
    fn the_table_has_a_line_for_each_instance_and_dashes_for_what_is_not_known() {
        let table = render(&rows(), Format::Table, "2026-01-01T00:05:12Z".parse().expect("a time"));
        let expected = "\
NAME     STATE       PID  ACCEL  UPTIME  FORWARDS           IMAGE         CONSOLE
basegun  running     7    kvm    5m 12s  2222:22 9100:9100  /image.qcow2  /s/console.log
b        incomplete  -    -      -       -                  -             /s/console.log
";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_program_reads_ports_and_pid_from_the_json() {
        let json = render(&rows(), Format::Json, "2026-01-01T00:05:12Z".parse().expect("a time"));
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json[0]["pid"], 7);
        assert_eq!(json[0]["accelerator"], "kvm");
        assert_eq!(json[0]["uptime_seconds"], 312);
        assert_eq!(json[0]["forwards"][0]["host"], 2222);
        assert!(json[1]["pid"].is_null());
    }

    #[test]
    fn an_uptime_has_its_two_largest_units() {
        assert_eq!([uptime(5), uptime(65), uptime(7260), uptime(90_000)], ["5s", "1m 5s", "2h 1m", "1d 1h"]);
    }
}

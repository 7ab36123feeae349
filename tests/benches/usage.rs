use anyhow::{Context, Result};
use std::fs;

/// A clock tick of `times` in proc(5): USER_HZ, which is 100 on every platform of Linux that we run on.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far, with all of its threads, those that ended included. Rounded to ticks of 10 ms.
pub fn cpu_seconds(process: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the process has ended")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    anyhow::ensure!(fields.first() != Some(&"Z"), "the process has ended");
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).context("/proc/PID/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// CPU seconds of the threads that a process has, to the nanosecond: for those that do next to nothing.
pub fn fine_cpu_seconds(process: i32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).context("the process has ended")? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Resident memory now, in MB.
pub fn resident(process: i32) -> Result<f64> {
    status(process, "VmRSS:")
}

/// The most that it was, in MB.
pub fn peak_resident(process: i32) -> Result<f64> {
    status(process, "VmHWM:")
}

fn status(process: i32, field: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).context("the process has ended")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}

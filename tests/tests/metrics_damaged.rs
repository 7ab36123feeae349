//! The metrics duty on trees whose files are cut off, torn or nonsense: every scrape is answered, and with nothing but
//! well-formed samples.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::tree::Tree;

const SOON: Duration = Duration::from_secs(20);
const ROUNDS: u64 = 10;

/// Collectors that read files and are off unless told.
const MORE: [&str; 15] = [
    "buddyinfo",
    "cgroups",
    "cpu_vulnerabilities",
    "drbd",
    "interrupts",
    "ksmd",
    "lnstat",
    "meminfo_numa",
    "mountstats",
    "processes",
    "slabinfo",
    "softirqs",
    "swap",
    "xfrm",
    "zoneinfo",
];

fn agent_on(tree: &Tree) -> Result<(AgentProcess, Port)> {
    let port = Port::reserve()?;
    let roots = [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "root"), ("udev", "udev")];
    let roots = roots.map(|(root, folder)| format!("{root}: {}", tree.path().join(folder).display())).join(", ");
    let collectors = MORE.map(|name| format!("{name}: true")).join(", ");
    let mut agent = AgentProcess::start(&format!(
        "metrics:\n  listen: \"{}\"\n  roots: {{{roots}}}\n  collectors: {{{collectors}, stat: {{softirq: true}}}}\n",
        port.address(),
    ))?;
    agent.wait_ready(SOON)?;
    Ok((agent, port))
}

/// Every file below, links left out.
fn files(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push((entry.path(), fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// The content in some other form.
fn damaged(content: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut content = content.to_vec();
    let at = random.usize(..=content.len());
    match random.u8(..9) {
        0 => content.truncate(at),
        1 => content.clear(),
        2 => content.iter_mut().for_each(|byte| *byte = random.u8(..)),
        3 => drop(content.splice(at..at, b"99999999999999999999999999".to_owned())),
        4 => drop(content.splice(at..at, b" -1 \x00\xff:/[(=\n".to_owned())),
        5 => content.retain(|byte| *byte != b'\n'),
        6 => content.retain(|byte| *byte != b' '),
        7 => {
            let again = content[at..].to_vec();
            content.extend(again);
        }
        _ => {}
    }
    content
}

/// `name{label="value"} number`.
fn is_sample(line: &str) -> bool {
    let Some((series, value)) = line.rsplit_once(' ') else { return false };
    let name = series.split('{').next().unwrap_or_default();
    let fits = |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    value.parse::<f64>().is_ok() && !name.is_empty() && name.chars().all(fits)
}

fn holds_out(name: &str) -> Result<()> {
    let tree = Tree::unpack(name)?;
    let mut whole = Vec::new();
    files(tree.path(), &mut whole)?;
    let (agent, port) = agent_on(&tree)?;
    let pid = agent.pid();
    for round in 0..ROUNDS {
        let mut random = Rng::with_seed(round);
        for (path, content) in &whole {
            fs::write(path, damaged(content, &mut random))?;
        }
        let answer = http::get(port.address(), "/metrics")?.success();
        let text = answer.with_context(|| format!("round {round}, and the agent says: {}", agent.output()))?.text();
        let odd = text.lines().find(|line| !line.starts_with("# ") && !is_sample(line));
        ensure!(odd.is_none(), "round {round}: {odd:?} is no sample");
        ensure!(text.contains("node_scrape_collector_success"), "round {round}: no collector is told");
    }
    for (path, content) in &whole {
        fs::write(path, content)?;
    }
    let text = http::get(port.address(), "/metrics")?.success()?.text();
    ensure!(text.contains("hostwright_duty_restarts_total{duty=\"metrics\"} 0\n"), "the duty was restarted");
    ensure!(agent.pid() == pid, "the agent was restarted");
    Ok(())
}

#[test]
fn a_file_servers_files_may_hold_anything() -> Result<()> {
    holds_out("file-server")
}

#[test]
fn a_load_balancers_files_may_hold_anything() -> Result<()> {
    holds_out("balancer")
}

#[test]
fn a_servers_files_may_hold_anything() -> Result<()> {
    holds_out("server")
}

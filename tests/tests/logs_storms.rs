//! Rotation faster than anyone looks: what is overwritten by the next rotation has to be opened before that.

use std::env;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::log_host::{Arrived, Host, SOON};
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

/// Each rotation overwrites the former generation.
fn overwrite(host: &mut Host, period: Duration, times: usize) -> Result<()> {
    for _ in 0..times {
        host.write("log.json", 10)?;
        thread::sleep(period);
        host.rename("log.json", "log.json.1")?;
    }
    host.write("log.json", 10)
}

/// What came of it when the last line had arrived, and everything before it that ever will.
fn settled(host: &Host) -> Result<Arrived> {
    let last = host.written - 1;
    eventually("the last line", SOON, || host.at_archive().is_ok_and(|arrived| arrived.0.contains(&last)))?;
    thread::sleep(Duration::from_secs(1));
    host.at_archive()
}

/// User and system time of the agent, in hundredths of a second (proc_pid_stat(5)).
fn processor_ticks(agent: &AgentProcess) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid()))?;
    let fields = stat.rsplit_once(')').context("a name")?.1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| Ok(ticks.parse::<u64>()?)).sum()
}

#[test]
fn a_generation_that_is_overwritten_at_once_is_opened_before_that() -> Result<()> {
    let period = env::var("PERIOD").ok().map_or(Ok(20), |text| text.parse())?;
    let mut host = Host::new()?;
    let agent = host.agent("log.json", "")?;
    host.write("log.json", 10)?;
    host.complete()?;
    let before = processor_ticks(&agent)?;
    overwrite(&mut host, Duration::from_millis(period), 100)?;
    let arrived = settled(&host)?;
    let missing = arrived.missing(host.written).len();
    eprintln!(
        "{period} ms: {} lines, {missing} missing, {} twice, {:?} misplaced, {} ticks of CPU time",
        host.written,
        arrived.duplicates(),
        arrived.misplaced(),
        processor_ticks(&agent)? - before
    );
    // A loaded machine may not let us look for as long as that.
    ensure!(missing * 20 < host.written, "{missing} of {} lines: {}", host.written, agent.output());
    ensure!(arrived.duplicates() == 0, "{} twice: {}", arrived.duplicates(), agent.output());
    ensure!(arrived.in_order(), "{:?} is misplaced: {}", arrived.misplaced(), agent.output());
    Ok(())
}

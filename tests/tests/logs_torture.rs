//! The logs duty under torture: every kind of rotation, crashes, receivers that break, full disks.
//!
//! By itself it is short: three storms, with outputs of every kind. `TORTURE_SEED` repeats a run as far as time lets it
//! be repeated; `TORTURE_SECONDS` is the length of one storm, `TORTURE_MINUTES` repeats it with one seed after another
//! for so long (`make torture MINUTES=…`). To find what a failure is due to, `TORTURE_WITHOUT` names what is not to
//! happen: rename, copyandtruncate, refill, delete, replace, compress, late, full, terminate, end, whims.

use std::env;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hostwright_tests::torture::run::{Settings, run};

fn variable(name: &str) -> Result<Option<u64>> {
    env::var(name).ok().map(|value| value.parse().with_context(|| format!("{name}={value}"))).transpose()
}

/// Syslog with Lumberjack, GELF with HTTP and syslog with bulk; each with a file.
const SHORT: ([u64; 3], Duration) = ([12, 9, 10], Duration::from_secs(20));
/// A storm of `make torture`, and of a seed that was asked for.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_lost_and_little_comes_twice_whatever_happens_to_files_agent_receivers_and_disks() -> Result<()> {
    let (asked, minutes) = (variable("TORTURE_SEED")?, variable("TORTURE_MINUTES")?);
    let is_short = asked.is_none() && minutes.is_none();
    let storm = variable("TORTURE_SECONDS")?.map(Duration::from_secs);
    let storm = storm.unwrap_or(if is_short { SHORT.1 } else { LONG });
    if is_short {
        return SHORT.0.into_iter().try_for_each(|seed| torture(seed, storm));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut seed = asked.unwrap_or(u64::from(now.subsec_nanos()));
    let until = Instant::now() + Duration::from_secs(60 * minutes.unwrap_or(0));
    loop {
        torture(seed, storm)?;
        seed += 1;
        if Instant::now() + storm > until {
            return Ok(());
        }
    }
}

fn torture(seed: u64, storm: Duration) -> Result<()> {
    let without = env::var("TORTURE_WITHOUT").unwrap_or_default();
    let report = run(&Settings { seed, storm, without })?;
    eprintln!("TORTURE_SEED={seed}: {report}");
    Ok(())
}

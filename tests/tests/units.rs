//! The units: what `systemd-analyze security` misses in one is named in it with its reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn units() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

/// The directives that the unit leaves out or does not set as strictly as it could be.
fn missed(unit: &Path) -> Result<BTreeSet<String>> {
    let output =
        Command::new("systemd-analyze").args(["security", "--offline=true", "--json=short"]).arg(unit).output();
    let found: Value = serde_json::from_slice(&output?.stdout).context("systemd-analyze gave no table")?;
    let rows = found.as_array().context("a table")?;
    ensure!(rows.len() > 50, "only {} rows", rows.len());
    let missed = rows.iter().filter(|row| row["set"] == false).filter_map(|row| row["name"].as_str());
    Ok(missed.filter_map(|name| name.split('=').next()).map(str::to_owned).collect())
}

#[test]
fn every_directive_that_a_unit_leaves_out_is_named_in_it_with_its_reason() -> Result<()> {
    let units = units()?;
    ensure!(units.len() == 4, "{units:?}");
    for unit in units {
        let text = fs::read_to_string(&unit)?;
        let unnamed: Vec<_> = missed(&unit)?.into_iter().filter(|directive| !text.contains(directive)).collect();
        assert!(unnamed.is_empty(), "{}: {unnamed:?}", unit.display());
    }
    Ok(())
}

/// In tenths, of ten: what is served to others grows no weaker.
#[test]
fn the_services_that_strangers_reach_are_exposed_no_more_than_now() -> Result<()> {
    for (name, most) in [("hostwright-agent.service", "40"), ("hostwright-ports.service", "16")] {
        let units = units()?;
        let unit = units.iter().find(|unit| unit.ends_with(name)).context(name)?;
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", &format!("--threshold={most}")])
            .arg(unit)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {}", said.lines().last().unwrap_or_default());
    }
    Ok(())
}

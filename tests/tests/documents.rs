//! Documents that can rot: every configuration that is shipped or shown is valid, every file that is named exists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hostwright_tests::process::binary;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn check(text: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.yaml");
    fs::write(&file, text)?;
    let program = if text.starts_with("#cloud-config") { "hostwright-bootstrap" } else { "hostwright-agent" };
    let output = Command::new(binary(program)?).arg("check").arg(&file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn every_configuration_in_the_readme_and_the_guides_is_valid() -> Result<()> {
    let mut documents = vec![repository().join("README.md")];
    for entry in fs::read_dir(repository().join("docs"))? {
        documents.push(entry?.path());
    }
    let mut checked = 0;
    for path in documents {
        let text = fs::read_to_string(&path)?;
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            check(block).with_context(|| format!("{}:\n{block}", path.display()))?;
            checked += 1;
        }
    }
    ensure!(checked >= 5, "{checked} configurations");
    Ok(())
}

#[test]
fn the_package_s_example_is_valid() -> Result<()> {
    check(&fs::read_to_string(repository().join("packaging/agent.yaml"))?)
}

#[test]
fn every_file_that_the_readme_leads_to_exists() -> Result<()> {
    let readme = fs::read_to_string(repository().join("README.md"))?;
    let table =
        readme.split("## Idea → file").nth(1).and_then(|rest| rest.split("\n## ").next()).context("no table")?;
    let named = table.lines().filter_map(|line| line.rsplit_once(" | `").and_then(|(_, rest)| rest.split('`').next()));
    let named: Vec<_> = named.collect();
    ensure!(named.len() > 10, "the table has {} rows", named.len());
    for path in named {
        ensure!(repository().join(path).exists(), "README.md names {path}, which does not exist");
    }
    Ok(())
}

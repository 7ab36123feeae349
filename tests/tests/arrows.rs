//! Who may use whom: the allowed arrows of the design, held by reading the sources.

use std::fs;
use std::path::{Path, PathBuf};

const DUTIES: [&str; 6] = ["api", "containers", "fetch", "logs", "metrics", "products"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests package stands in the repository").to_owned()
}

/// Every Rust file below a folder, with its text without comments.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                found.push((path.strip_prefix(repository()).expect("below").to_owned(), code.join("\n")));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

/// The workspace's packages among a package's ordinary dependencies.
fn workspace_dependencies(package: &str) -> Vec<String> {
    let manifest = fs::read_to_string(repository().join(package).join("Cargo.toml")).expect("a manifest");
    let dependencies = manifest.split("[dependencies]").nth(1).expect("dependencies").split("\n[").next().unwrap_or("");
    dependencies
        .lines()
        .filter(|line| line.starts_with("hostwright-"))
        .map(|line| line.split(['.', ' ']).next().unwrap_or("").to_owned())
        .collect()
}

/// Fails with every place outside `allowed` in which `word` stands.
fn only_in(word: &str, folders: &[&str], allowed: &[&str]) {
    let strangers: Vec<_> = folders
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|(path, code)| code.contains(word) && !allowed.iter().any(|allowed| path.starts_with(allowed)))
        .map(|(path, _)| path)
        .collect();
    assert!(strangers.is_empty(), "{word} is used in {strangers:?}; it belongs in {allowed:?}");
}

#[test]
fn core_knows_nobody_and_bootstrap_knows_core_alone() {
    assert!(workspace_dependencies("agent/core").is_empty());
    assert_eq!(workspace_dependencies("agent/duty"), ["hostwright-core"]);
    assert_eq!(workspace_dependencies("agent/metrics"), ["hostwright-core", "hostwright-duty"]);
    assert_eq!(workspace_dependencies("agent"), ["hostwright-core", "hostwright-duty", "hostwright-metrics"]);
    assert_eq!(workspace_dependencies("bootstrap"), ["hostwright-core"]);
}

#[test]
fn duties_never_name_each_other() {
    for duty in DUTIES {
        let folder = if duty == "metrics" { "agent/metrics/src".into() } else { format!("agent/src/{duty}") };
        for (path, code) in sources(&folder) {
            for other in DUTIES.iter().filter(|other| **other != duty) {
                // What is a package of its own has modules that bear a duty's name.
                let within = if duty == "metrics" { "hostwright_agent" } else { "crate" };
                for arrow in [format!("{within}::{other}"), format!("hostwright_{other}::")] {
                    assert!(!code.contains(&arrow), "{} names the duty {other}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_supervisor_knows_no_duty_by_name() {
    let code = fs::read_to_string(repository().join("agent/duty/src/supervisor.rs")).expect("the supervisor");
    for duty in DUTIES {
        assert!(!code.contains(&format!("crate::{duty}")) && !code.contains(&format!("\"{duty}\"")), "it names {duty}");
    }
}

#[test]
fn clients_are_built_in_one_place_each() {
    let everywhere = ["agent/src", "agent/core/src", "agent/duty/src", "agent/metrics/src", "bootstrap/src"];
    only_in("aws_sdk_s3::", &everywhere, &["agent/core/src/bucket.rs", "agent/core/src/bucket"]);
    only_in("ServerConfig", &everywhere, &["agent/core/src/tls.rs", "agent/core/src/tls"]);
    only_in("ClientConfig", &everywhere, &["agent/core/src/tls.rs"]);
    only_in("bollard::", &everywhere, &["agent/src/containers/engine.rs", "agent/src/containers/engine"]);
    only_in("saphyr_parser::", &everywhere, &["agent/core/src/yaml"]);
}

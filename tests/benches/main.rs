//! What the product costs, measured beside the programs that it replaces: one file for each duty, one table.
//!
//! `bench [DUTY…]` (or `make bench`); `SIZE_MB` sets the size of inputs (200), `ONLY` names the works to do by a part
//! of their names. The results are printed and written to `bench/results.json` beside the build.

/// Boot beside cloud-init.
mod boot;
/// The containers duty beside docker-compose and the engine's own publishing.
mod containers;
/// The logs duty beside rsyslog's imfile.
mod logs;
/// The metrics duty beside node_exporter.
mod metrics;
/// The products duty beside rclone.
mod products;
/// Works, figures, goals.
mod table;
/// CPU time and memory of a process.
mod usage;

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, setrlimit};
use std::env;
use std::path::PathBuf;
use table::Table;

/// What all benches are told.
#[derive(Debug)]
pub struct Settings {
    /// Bytes of an input.
    pub size: u64,
    /// Where inputs and results are kept.
    pub folder: PathBuf,
}

type Bench = fn(&Settings, &mut Table);

const DUTIES: [(&str, Bench); 5] = [
    ("boot", boot::run),
    ("containers", containers::run),
    ("logs", logs::run),
    ("metrics", metrics::run),
    ("products", products::run),
];

/// LimitNOFILE of the agent's unit. Only root may have more files open than the shell allows.
const OPEN_FILES: u64 = 65_536;

fn main() -> Result<()> {
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES) {
        eprintln!("bench: the limit of open files stays as it is ({error}); the agent's unit has {OPEN_FILES}");
    }
    let size = env::var("SIZE_MB").ok().map(|text| text.parse::<u64>().context("SIZE_MB")).transpose()?.unwrap_or(200);
    let program = env::current_exe()?;
    let build = program.ancestors().nth(2).context("no build folder")?;
    let settings = Settings { size: size * 1_000_000, folder: build.join("bench") };
    std::fs::create_dir_all(&settings.folder)?;
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut table = Table::new(env::var("ONLY").unwrap_or_default());
    for (_, bench) in DUTIES.iter().filter(|(duty, _)| wanted.is_empty() || wanted.iter().any(|name| name == duty)) {
        bench(&settings, &mut table);
    }
    println!("\n{}", table.text());
    let results = settings.folder.join("results.json");
    std::fs::write(&results, serde_json::to_string_pretty(&table.json())?)?;
    println!("written to {}", results.display());
    Ok(())
}

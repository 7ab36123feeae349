use crate::logs::positions::{Position, Positions};
use crate::logs::source::identity;
use anyhow::Context as _;
use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What became of a file, as far as can be known.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Holds {
        path: PathBuf,
        size: u64,
    },
    /// The file is there, with another content at or before the position.
    Changed(PathBuf),
    /// It is in its folder no more. All that was known of it was acknowledged, or not.
    Gone,
    /// The parts are more than the whole.
    Wrong,
}

/// Checks the ledger of every file of every output, and prints a row for each.
pub fn verify(state: &Path) -> anyhow::Result<ExitCode> {
    let outputs = outputs(state).with_context(|| {
        format!(
            "cannot read the state in {}; run this as root, on a host whose agent.yaml has a section `logs`",
            state.display()
        )
    })?;
    let mut bad = 0;
    println!(
        "{:<12} {:>14} {:>14} {:>12} {:>10} {:>8}  FILE",
        "OUTPUT", "SIZE", "ACKNOWLEDGED", "PENDING", "SKIPPED", "DEAD"
    );
    for output in &outputs {
        for position in Positions::read(state, output)? {
            let verdict = check(&position);
            bad += u64::from(matches!(verdict, Verdict::Changed(_) | Verdict::Wrong));
            println!("{output:<12} {}", row(&position, &verdict));
        }
    }
    if bad > 0 {
        println!("\n{bad} ledgers do not hold.");
        return Ok(ExitCode::FAILURE);
    }
    println!("\nEvery ledger holds: acknowledged + pending + skipped + dead = size.");
    Ok(ExitCode::SUCCESS)
}

/// The names of the outputs that have positions here.
fn outputs(state: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(state)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_prefix("positions-").and_then(|n| n.strip_suffix(".0")).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn check(position: &Position) -> Verdict {
    let Some(parts) = position.ledger.skipped.checked_add(position.ledger.dead) else { return Verdict::Wrong };
    if parts > position.point.offset {
        return Verdict::Wrong;
    }
    let path = Path::new(&position.path);
    let mut changed = None;
    for path in candidates(path, position.inode) {
        let Ok(file) = File::open(&path) else { continue };
        let born = file.metadata().ok().and_then(|metadata| identity::born(&metadata));
        if !position.may_be(&position.source, position.inode, born) {
            // The inode of one that is gone.
            continue;
        }
        if position.is_in(&file) {
            let size = file.metadata().map_or(position.point.offset, |metadata| metadata.size());
            return Verdict::Holds { path, size };
        }
        changed = Some(path);
    }
    changed.map_or(Verdict::Gone, Verdict::Changed)
}

/// The file under the name it was written under, and whatever has its inode in the same folder.
fn candidates(path: &Path, inode: u64) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.ino() == inode).map(|entry| entry.path()).collect()
}

fn row(position: &Position, verdict: &Verdict) -> String {
    let (skipped, dead) = (position.ledger.skipped, position.ledger.dead);
    let acknowledged = position.point.offset.saturating_sub(skipped).saturating_sub(dead);
    let (size, pending, file) = match verdict {
        Verdict::Holds { path, size } => {
            (size.to_string(), size.saturating_sub(position.point.offset).to_string(), path.display().to_string())
        }
        Verdict::Changed(path) => (
            "?".into(),
            "?".into(),
            format!(
                "{}: its content is not the one that was read; it was truncated or replaced meanwhile",
                path.display()
            ),
        ),
        Verdict::Gone if position.pending() > 0 => (
            format!(">={}", position.size),
            format!(">={}", position.pending()),
            format!(
                "{}: gone, with what is pending, unless the agent holds it open or has it under another name",
                position.path
            ),
        ),
        Verdict::Gone => (
            "?".into(),
            "?".into(),
            format!("{}: gone; what the agent still holds open is not seen here", position.path),
        ),
        Verdict::Wrong => {
            ("?".into(), "?".into(), format!("{}: skipped and dead are more than was read", position.path))
        }
    };
    format!("{size:>14} {acknowledged:>14} {pending:>12} {skipped:>10} {dead:>8}  {file}")
}

use crate::containers;
use clap::Subcommand;
use hostwright_core::config::ConfigError;
use std::io::Write as _;
use std::path::PathBuf;

/// What is done with Compose files.
#[derive(Clone, Debug, Subcommand)]
pub enum Compose {
    /// Print the canonical model of Compose files, as `docker compose config --format json` does.
    Config {
        /// The files; each is laid over those before it.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The project's name.
        #[arg(long, short)]
        project_name: Option<String>,
        /// Where relative paths begin; the first file's folder unless given.
        #[arg(long)]
        project_directory: Option<PathBuf>,
        /// A file with variables; `.env` beside the first file unless given.
        #[arg(long)]
        env_file: Vec<PathBuf>,
        /// A profile whose services take part.
        #[arg(long)]
        profile: Vec<String>,
    },
}

/// Carries it out.
///
/// # Errors
/// The files have problems.
pub fn compose(what: Compose) -> Result<(), ConfigError> {
    let Compose::Config { files, project_name, project_directory, env_file, profile } = what;
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let request = containers::ComposeRequest {
        files: files.into_iter().map(absolute).collect(),
        folder: project_directory.map(absolute),
        name: project_name,
        env_files: env_file.into_iter().map(absolute).collect(),
        profiles: profile,
    };
    let (json, notes) = containers::canonical(&request)?;
    for note in notes {
        eprintln!("{note}");
    }
    // Whoever reads it may have gone, like `head`.
    let _ = writeln!(std::io::stdout(), "{json}");
    Ok(())
}

use hostwright_core::config::{Config, ConfigError};
use std::path::Path;

/// Checks a file without touching anything, and says what the agent would do with it.
///
/// # Errors
/// The file cannot be read or has problems.
pub fn check(path: &Path) -> Result<(), ConfigError> {
    let config = Config::read(path)?;
    let duties: Vec<_> = crate::duties(&config).iter().map(crate::supervisor::Duty::name).collect();
    println!("{} is valid; duties: {}", path.display(), duties.join(", "));
    Ok(())
}

use crate::containers;
use hostwright_core::config::metrics::web::WebConfig;
use hostwright_core::config::{Config, ConfigError, advice};
use hostwright_core::yaml::{self, Duplicates};
use std::path::Path;

/// Checks a file without touching anything, with the files that it names or `alone`, and says what the agent would do
/// with it.
///
/// # Errors
/// The file cannot be read or has problems.
pub fn check(path: &Path, alone: bool) -> Result<(), ConfigError> {
    let config = Config::read(path)?;
    if !alone {
        warn(path);
    }
    // On the machine of whoever writes the file the Compose file need not be where it will be on the host.
    if let Some(containers) = config.containers.as_ref().filter(|named| !alone && named.compose.exists()) {
        containers::check(&containers.compose)?;
    }
    // Nor need the web configuration.
    let web = config.metrics.as_ref().and_then(|metrics| metrics.web_config.as_ref());
    if let Some(web) = web.filter(|web| !alone && web.exists()) {
        WebConfig::read(web)?;
    }
    let duties: Vec<_> = crate::duties(&config).iter().map(hostwright_duty::supervisor::Duty::name).collect();
    println!("{} is valid; duties: {}", path.display(), duties.join(", "));
    Ok(())
}

/// Tells what an operator should look at on this host, which makes no file invalid.
fn warn(path: &Path) {
    let Ok(document) = std::fs::read_to_string(path).map(|text| yaml::load(&text, Duplicates::Refuse)) else { return };
    for advice in document.iter().flat_map(|document| advice(&document.root)) {
        eprintln!("{}:{}", path.display(), advice.as_warning());
    }
}

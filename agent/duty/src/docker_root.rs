//! What the Docker Engine keeps of a container in its data folder (`config.v2.json`), for duties that only read: it is
//! there while the engine restarts, and asking costs the engine nothing.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// A container, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Description {
    name: String,
    config: Config,
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    running: bool,
    pid: u32,
    started_at: Option<String>,
}

impl Description {
    /// Of the container with this folder; nothing is known of one that is gone.
    pub fn of(folder: &Path) -> Self {
        read(&folder.join(FILE)).unwrap_or_default()
    }

    /// Its name, without the slash that the engine puts before it.
    pub fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// Its image, as it was named when the container was created.
    pub fn image(&self) -> &str {
        &self.config.image
    }

    /// One of its labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Its first process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        (self.state.running && self.state.pid > 0).then_some(self.state.pid)
    }

    /// When it was started last.
    pub fn started(&self) -> Option<Timestamp> {
        self.state.started_at.as_ref()?.parse().ok()
    }
}

/// The file in a container's folder.
pub const FILE: &str = "config.v2.json";

/// A file of the engine, if it is there and as expected.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::Description;

    #[test]
    fn a_container_is_told_by_what_the_engine_keeps_of_it() {
        let text = r#"{"Name":"/shop-web-1","Config":{"Image":"shop:1.2","Labels":{"a.b":"c"},"Env":null},
            "State":{"Running":true,"Pid":4711,"StartedAt":"2026-11-21T08:00:00.5Z","Health":null}}"#;
        let found: Description = serde_json::from_str(text).expect("understood");
        assert_eq!((found.name(), found.image(), found.label("a.b")), ("shop-web-1", "shop:1.2", Some("c")));
        assert_eq!(found.pid(), Some(4711));
        assert_eq!(found.started().map(|at| at.as_millisecond()), Some(1_795_248_000_500));
        let stopped = text.replace("true", "false").replace("\"2026-11-21T08:00:00.5Z\"", "\"\"");
        let found: Description = serde_json::from_str(&stopped).expect("understood");
        assert_eq!((found.pid(), found.started()), (None, None));
        assert_eq!(Description::default().name(), "");
    }
}

use crate::config::section::Section;
use crate::config::values::{AbsolutePath, HostPort, Labels};
use std::path::PathBuf;

/// A file by which a Prometheus finds this host (`file_sd_configs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSd {
    /// The file: one that ends in `.json`, as Prometheus wants it.
    pub path: PathBuf,
    /// Where a Prometheus reaches this host; its name and the port of `listen` unless given.
    pub targets: Vec<HostPort>,
    /// On the target, beside the host's.
    pub labels: Labels,
}

impl FileSd {
    /// Reads the keys `path`, `targets` and `labels`, or the path alone.
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let path = section.required_or_shorthand::<AbsolutePath>("path");
        if path.as_ref().is_some_and(|path| path.0.extension().is_none_or(|ending| ending != "json")) {
            section.problem(
                section.place(),
                "the file's name must end in .json: Prometheus reads it as what it is called",
            );
        }
        let targets = section.list::<HostPort>("targets").unwrap_or_default();
        let labels = section.or("labels", Labels::default());
        for own in labels.0.keys().filter(|name| name.starts_with("__meta_")) {
            section.problem_with("labels", &format!("{own:?}: names in __meta_ are for discoveries to give"));
        }
        section.finish();
        Some(Self { path: path?.0, targets, labels })
    }
}

#[cfg(test)]
mod tests {
    use super::FileSd;
    use crate::config::Config;

    fn read(text: &str) -> Result<FileSd, String> {
        let config = Config::parse(&format!("metrics:\n  file_sd: {text}\n"), "agent.yaml");
        config.map(|config| config.metrics.expect("present").file_sd.expect("given")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_is_enough() {
        let alone = read("/var/lib/sd/node.json").expect("valid");
        assert_eq!((alone.path.to_str(), alone.targets.len()), (Some("/var/lib/sd/node.json"), 0));
        let all = read("{path: /x.json, targets: '10.0.0.5:9100', labels: {job: node}}").expect("valid");
        assert_eq!((all.targets[0].0.as_str(), all.labels.0["job"].as_str()), ("10.0.0.5:9100", "node"));
    }

    #[test]
    fn what_prometheus_would_not_take_is_refused() {
        for (text, part) in [
            ("/x.txt", "must end in .json"),
            ("{path: x.json}", "an absolute path"),
            ("{path: /x.json, targets: host}", "a host and port"),
            ("{path: /x.json, labels: {__meta_a: b}}", "for discoveries to give"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}

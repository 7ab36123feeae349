use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Options of the collector `sysctl`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctl {
    /// Settings of numbers: `net.ipv4.tcp_rmem`, or with a name for each number `net.ipv4.tcp_rmem:min,default,max`.
    pub include: Vec<String>,
    /// Settings that are told as texts.
    pub include_info: Vec<String>,
}

/// A setting's name, with names of its numbers where there are any.
struct Setting(String);

impl FromNode for Setting {
    const EXPECTED: &'static str = "a kernel setting such as kernel.threads-max or net.ipv4.tcp_rmem:min,default,max";

    fn from_node(node: &Node) -> Result<Self, String> {
        // What is no part of a name would lead to another folder.
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@".contains(c));
        let fits = |text: &&str| {
            let (name, keys) = text.split_once(':').unwrap_or((text, "x"));
            is_name(name) && name.split('.').all(|part| !part.is_empty()) && keys.split(',').all(is_name)
        };
        node.text().filter(fits).map(|text| Self(text.to_owned())).ok_or_else(|| mismatch::<Self>(node))
    }
}

impl Sysctl {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        let mut settings = |key| {
            let mut settings: Vec<String> = Vec::new();
            for Setting(setting) in section.list(key).unwrap_or_default() {
                // One that is listed twice would give each of its samples twice; with and without names it gives others.
                if !settings.contains(&setting) {
                    settings.push(setting);
                }
            }
            settings
        };
        self.include = settings("include");
        self.include_info = settings("include_info");
    }
}

#[cfg(test)]
mod tests {
    use super::Sysctl;
    use crate::config::Config;

    fn read(text: &str) -> Result<Sysctl, String> {
        let text = format!("metrics: {{collectors: {{sysctl: {text}}}}}");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        Ok(config.metrics.expect("present").collectors.options.sysctl)
    }

    #[test]
    fn settings_are_taken_once_and_what_is_no_setting_is_refused() {
        let twice = "{include: ['fs.file-nr:a,b', fs.file-nr, 'fs.file-nr:a,b'], include_info: kernel.ostype}";
        let options = read(twice).expect("valid");
        assert_eq!(options.include, ["fs.file-nr:a,b", "fs.file-nr"]);
        assert_eq!(options.include_info, ["kernel.ostype"]);
        for wrong in ["../x", "a..b", "a:", "a:b,", "/etc/passwd", "a b"] {
            let error = read(&format!("{{include: '{wrong}'}}")).expect_err(wrong);
            assert!(error.contains("expected a kernel setting such as"), "{error}");
        }
    }
}

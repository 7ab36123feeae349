use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, Labels, mismatch};
use crate::yaml::Node;
use std::path::PathBuf;
use std::time::Duration;

/// What holds for all jobs of the Compose file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// Where jobs' outputs go: a folder for each service, and in it one for each job.
    pub outputs: PathBuf,
    /// How jobs are named.
    pub name: NameTemplate,
    /// So many run at the same time, whatever they are.
    pub concurrency: u64,
    /// So long an ended job's container stays, for its log.
    pub keep: Duration,
    /// So many ended jobs are remembered.
    pub history: u64,
}

/// A name with `{service}`, `{compose_project}`, `{host}` and the host's labels in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate(pub String);

impl Default for Jobs {
    /// The keeping time is that of Amazon ECS' agent.
    fn default() -> Self {
        Self {
            outputs: "/var/lib/hostwright/jobs".into(),
            name: NameTemplate("{compose_project}-{service}".into()),
            concurrency: 4,
            keep: Duration::from_secs(3 * 3600),
            history: 200,
        }
    }
}

impl FromNode for NameTemplate {
    const EXPECTED: &'static str =
        "a name such as {owner}-{project}-{environment}-{service}; labels of the host are filled in";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let mut rest = text;
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| mismatch::<Self>(node))?;
            if name.is_empty() {
                return Err(mismatch::<Self>(node));
            }
            plain.push_str(before);
            rest = after;
        }
        plain.push_str(rest);
        let fits = plain.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if fits && !text.is_empty() { Ok(Self(text.to_owned())) } else { Err(mismatch::<Self>(node)) }
    }
}

impl NameTemplate {
    /// The names between braces.
    fn places(&self) -> impl Iterator<Item = &str> {
        self.0.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }

    /// With everything filled in.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let mut text = self.0.clone();
        for place in self.places() {
            text = text.replace(&format!("{{{place}}}"), &value(place).unwrap_or_default());
        }
        text
    }
}

impl Jobs {
    pub(super) fn read(mut section: Section<'_>, labels: &Labels) -> Option<Self> {
        let defaults = Self::default();
        let name: NameTemplate = section.or("name", defaults.name);
        let unknown =
            |place: &&str| !["service", "compose_project", "host"].contains(place) && !labels.0.contains_key(*place);
        if let Some(place) = name.places().find(unknown) {
            section.problem_with("name", &format!("the host has no label {place:?}; add it under host.labels"));
        }
        if !name.places().any(|place| place == "service") {
            section.problem_with("name", "{service} must be in it, so that jobs of two services have two names");
        }
        let jobs = Self {
            outputs: section.or("outputs", AbsolutePath(defaults.outputs)).0,
            concurrency: section.or("concurrency", defaults.concurrency),
            keep: section.or("keep", defaults.keep),
            history: section.or("history", defaults.history),
            name,
        };
        if jobs.concurrency == 0 {
            section.problem_with("concurrency", "at least 1");
        }
        section.finish();
        Some(jobs)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn name(template: &str) -> Result<String, String> {
        let text = format!(
            "host: {{labels: {{owner: dse}}}}\ncontainers: {{compose: /c.yaml, jobs: {{name: '{template}'}}}}\n"
        );
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        let name = config.containers.expect("present").jobs.name;
        Ok(name.fill(|place| Some(format!("<{place}>"))))
    }

    #[test]
    fn names_are_made_of_labels_and_the_service() {
        assert_eq!(name("{owner}-{service}"), Ok("<owner>-<service>".into()));
        assert!(name("{owner}").is_err_and(|why| why.contains("{service} must be in it")));
        assert!(name("{team}-{service}").is_err_and(|why| why.contains("no label \"team\"")));
        for wrong in ["a b{service}", "{service", "{}{service}"] {
            assert!(name(wrong).is_err_and(|why| why.contains("expected a name")), "{wrong}");
        }
    }
}

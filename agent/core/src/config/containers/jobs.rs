use crate::config::section::Section;
use crate::config::values::{AbsolutePath, FromNode, Labels, mismatch};
use crate::yaml::Node;
use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

/// What holds for all jobs of the Compose file.
#[derive(Clone, Debug, PartialEq)]
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
    /// The services of the Compose file that are jobs.
    pub services: BTreeMap<String, Job>,
}

/// A service that runs to its end, when something calls for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// When it is started.
    pub schedule: Option<Schedule>,
    /// For which files it is started.
    pub when: Option<When>,
    /// A run that takes longer is stopped.
    pub timeout: Option<Duration>,
    /// So often a run that failed is tried again.
    pub retries: u64,
    /// Before the first retry; twice as long before each further one.
    pub backoff: Duration,
    /// So many runs of it at the same time; others wait.
    pub concurrency: u64,
    /// The folder in the container in which it leaves its outputs.
    pub outputs: Option<PathBuf>,
}

/// Times in the form of crontab(5).
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

/// Files that appear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The folder, on the host.
    pub folder: PathBuf,
    /// The pattern of names.
    pub file: String,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

impl Schedule {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first time after `after`, if there is any.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&after.to_zoned(self.zone.clone()), false).ok()?;
        Some(next.timestamp())
    }
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
            services: BTreeMap::new(),
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
            services: section.named("services", Job::read).unwrap_or_default(),
            name,
        };
        if jobs.concurrency == 0 {
            section.problem_with("concurrency", "at least 1");
        }
        section.finish();
        Some(jobs)
    }
}

/// Retries come no quicker than this, and no slower than an hour apart.
const SHORTEST_BACKOFF: Duration = Duration::from_secs(1);

impl Job {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let zone = section.optional::<Zone>("time_zone").map(|zone| zone.0);
        let times = section.optional::<Times>("schedule");
        if zone.is_some() && !section.has("schedule") {
            section.problem_with("time_zone", "belongs to a schedule, which is missing");
        }
        let zone = zone.unwrap_or_else(TimeZone::system);
        let job = Self {
            schedule: times.map(|Times(text, cron)| Schedule { text, cron, zone }),
            when: section.section("when", When::read),
            timeout: section.optional("timeout"),
            retries: section.or("retries", 0),
            backoff: section.or("backoff", Duration::from_secs(30)),
            concurrency: section.or("concurrency", 1),
            outputs: section.optional::<AbsolutePath>("outputs").map(|path| path.0),
        };
        if job.concurrency == 0 {
            section.problem_with("concurrency", "at least 1");
        }
        if job.timeout.is_some_and(|timeout| timeout.is_zero()) {
            section.problem_with("timeout", "at least 1s");
        }
        if job.backoff < SHORTEST_BACKOFF {
            section.problem_with("backoff", "at least 1s");
        }
        section.finish();
        Some(job)
    }
}

impl When {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let file = section.required::<String>("file");
        if file.as_ref().is_some_and(|file| file.contains('/') || globset::Glob::new(file).is_err()) {
            section.problem_with("file", "expected a pattern of file names such as *.csv, without a folder");
        }
        let folder = section.required::<AbsolutePath>("in");
        section.finish();
        Some(Self { folder: folder?.0, file: file? })
    }
}

struct Times(String, Cron);

impl FromNode for Times {
    const EXPECTED: &'static str =
        "times as in a crontab such as \"0 6 * * *\" (minute, hour, day, month, weekday), or @daily";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        match Cron::from_str(text) {
            Ok(cron) if !text.is_empty() => Ok(Self(text.to_owned(), cron)),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

struct Zone(TimeZone);

impl FromNode for Zone {
    const EXPECTED: &'static str = "a time zone such as Europe/Paris or UTC";

    fn from_node(node: &Node) -> Result<Self, String> {
        TimeZone::get(node.text().unwrap_or_default()).map(Self).map_err(|_| mismatch::<Self>(node))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use jiff::Timestamp;

    fn job(job: &str) -> Result<super::Job, String> {
        let text = format!("containers: {{compose: /c.yaml, jobs: {{services: {{j: {job}}}}}}}\n");
        let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
        Ok(config.containers.expect("present").jobs.services["j"].clone())
    }

    #[test]
    fn a_schedule_has_its_time_zone_and_summer_time() {
        let job = job("{schedule: '30 6 * * *', time_zone: Europe/Paris}").expect("valid");
        let schedule = job.schedule.expect("present");
        let next =
            |after: &str| schedule.next(after.parse::<Timestamp>().expect("a time")).expect("a time").to_string();
        assert_eq!(next("2026-01-10T00:00:00Z"), "2026-01-10T05:30:00Z");
        assert_eq!(next("2026-07-10T04:30:00Z"), "2026-07-11T04:30:00Z");
    }

    #[test]
    fn what_makes_no_sense_of_a_job_is_refused() {
        for (wrong, why) in [
            ("{schedule: often}", "times as in a crontab"),
            ("{schedule: '61 * * * *'}", "times as in a crontab"),
            ("{schedule: '@daily', time_zone: Mars/Base}", "a time zone such as"),
            ("{time_zone: UTC}", "belongs to a schedule"),
            ("{when: {file: 'a/*.csv', in: /x}}", "without a folder"),
            ("{when: {file: '*.csv'}}", "\"in\" is missing"),
            ("{concurrency: 0}", "at least 1"),
            ("{backoff: 0s}", "at least 1s"),
            ("{outputs: here}", "an absolute path"),
            ("{command: x}", "unknown key"),
        ] {
            let message = job(wrong).expect_err(wrong);
            assert!(message.contains(why), "{wrong}: {message}");
        }
        assert!(job("{when: {file: '*.csv', in: /x}, outputs: /out, retries: 3}").is_ok());
    }

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

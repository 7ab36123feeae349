use crate::config::aws::Credentials;
use crate::config::endpoint::{Compress, Endpoint, HttpUrl};
use crate::config::section::Section;
use crate::config::values::{FromNode, mismatch};
use crate::yaml::Node;

/// Amazon CloudWatch Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudWatch {
    /// Where it is: the region's own endpoint unless given.
    pub endpoint: Endpoint,
    /// The region that requests are signed for.
    pub region: String,
    /// The log group's name.
    pub group: Template,
    /// The log stream's name.
    pub stream: Template,
    /// Whether a group or stream that is not there is created.
    pub create: bool,
    /// Whose requests they are.
    pub credentials: Credentials,
}

/// A name with `{host}`, `{source}` and `{file}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub String);

impl FromNode for Template {
    const EXPECTED: &'static str = "a name such as /hosts/{host}; {host}, {source} and {file} are filled in";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        let plain = ["{host}", "{source}", "{file}"].iter().fold(text.to_owned(), |text, part| text.replace(part, "x"));
        let fits = !text.is_empty()
            && text.len() <= 512
            && plain.chars().all(|c| c.is_ascii_alphanumeric() || "_-./# ".contains(c));
        if fits { Ok(Self(text.to_owned())) } else { Err(mismatch::<Self>(node)) }
    }
}

impl CloudWatch {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let region = section.required::<String>("region");
        let url = section.optional::<HttpUrl>("url");
        let default = region.as_ref().map(|region| HttpUrl(format!("https://logs.{region}.{}", domain(region))));
        let endpoint = Endpoint::read_with_url(&mut section, url.or(default), &[Compress::None]);
        if let Some(endpoint) = &endpoint
            && endpoint.auth.is_some()
        {
            section.problem(section.place(), "requests are signed with credentials: no basic, bearer or api_key");
        }
        let group = section.required("group");
        let stream = section.or("stream", Template("{host}/{source}".into()));
        let create = section.or("create", false);
        let credentials = section.section("credentials", Credentials::read).unwrap_or(Credentials::Found);
        section.finish();
        Some(Self { endpoint: endpoint?, region: region?, group: group?, stream, create, credentials })
    }
}

fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

#[cfg(test)]
mod tests {
    use super::Credentials;
    use crate::config::Config;
    use crate::config::logs::output::Platform;

    #[test]
    fn a_region_and_a_group_are_enough() {
        let text = "logs:\n  outputs:\n    o: {cloudwatch: {region: eu-west-3, group: /hosts}}\n";
        let logs = Config::parse(text, "agent.yaml").expect("valid").logs.expect("present");
        let Platform::CloudWatch(settings) = &logs.outputs["o"].platform else { panic!("not cloudwatch") };
        assert_eq!(settings.endpoint.url.0, "https://logs.eu-west-3.amazonaws.com");
        assert_eq!(settings.stream.0, "{host}/{source}");
        assert!(settings.credentials == Credentials::Found && !settings.create);
    }

    #[test]
    fn names_that_the_platform_would_refuse_are_refused() {
        for wrong in ["group: 'a:b'", "group: a, stream: 'x*'", "group: '{hots}'"] {
            let text = format!("logs:\n  outputs:\n    o: {{cloudwatch: {{region: r, {wrong}}}}}\n");
            let message = Config::parse(&text, "agent.yaml").expect_err(wrong).to_string();
            assert!(message.contains("expected a name such as"), "{message}");
        }
    }
}

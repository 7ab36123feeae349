use super::section::Section;
use super::values::{FromNode, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` of the environment; without them the role of
    /// the container or instance.
    Found,
    /// An access key by reference.
    Key(Key),
    /// A role, of which the platform gives temporary ones.
    Role(Role),
}

/// An access key by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub access_key: SecretRef,
    /// Its secret.
    pub secret_key: SecretRef,
    /// What belongs to one that is temporary.
    pub session_token: Option<SecretRef>,
}

/// Whose role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The instance's, by its metadata service (IMDSv2).
    Instance,
    /// The container's, where `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI` says.
    Container,
}

impl FromNode for Role {
    const EXPECTED: &'static str = "instance or container";

    fn from_node(node: &Node) -> Result<Self, String> {
        match node.text() {
            Some("instance") => Ok(Self::Instance),
            Some("container") => Ok(Self::Container),
            _ => Err(mismatch::<Self>(node)),
        }
    }
}

impl Credentials {
    /// Reads `{role: …}` or a key.
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        if let Some(role) = section.optional("role") {
            section.finish();
            return Some(Self::Role(role));
        }
        let access_key = section.required("access_key");
        let secret_key = section.required("secret_key");
        let session_token = section.optional("session_token");
        section.finish();
        Some(Self::Key(Key { access_key: access_key?, secret_key: secret_key?, session_token }))
    }
}

impl Key {
    /// That of the environment, under the names that all of AWS' tools know.
    pub fn of_environment() -> Self {
        let variable = |name: &str| SecretRef::Environment(name.to_owned());
        Self {
            access_key: variable("AWS_ACCESS_KEY_ID"),
            secret_key: variable("AWS_SECRET_ACCESS_KEY"),
            session_token: Some(variable("AWS_SESSION_TOKEN")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Role};
    use crate::config::Config;
    use crate::config::logs::output::Platform;

    #[test]
    fn credentials_are_a_key_or_a_role() {
        let credentials = |given: &str| {
            let text =
                format!("logs:\n  outputs:\n    o: {{cloudwatch: {{region: r, group: g, credentials: {given}}}}}\n");
            let logs = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?.logs.expect("present");
            let Platform::CloudWatch(settings) = &logs.outputs["o"].platform else { panic!("not cloudwatch") };
            Ok::<_, String>(settings.credentials.clone())
        };
        assert_eq!(credentials("{role: instance}"), Ok(Credentials::Role(Role::Instance)));
        assert_eq!(credentials("{role: container}"), Ok(Credentials::Role(Role::Container)));
        assert!(matches!(credentials("{access_key: {env: A}, secret_key: {env: B}}"), Ok(Credentials::Key(_))));
        assert!(credentials("{role: mine}").is_err_and(|why| why.contains("instance or container")));
        assert!(credentials("{role: instance, access_key: {env: A}}").is_err_and(|why| why.contains("access_key")));
    }
}

use super::section::Section;
use super::values::{FromNode, mismatch};
use crate::secret::SecretRef;
use crate::yaml::Node;
use std::path::PathBuf;

/// A named object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// A folder of this host, for a start without an object store and for tests.
    Folder(PathBuf),
    /// A bucket behind an S3 API.
    S3(S3Bucket),
}

/// A bucket behind an S3 API, with its own endpoint and credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Bucket {
    /// The API's URL: `https://s3.gra.io.cloud.ovh.net`.
    pub endpoint: String,
    /// The bucket's name there.
    pub bucket: String,
    /// The region that requests are signed for; most stores that are not AWS take any.
    pub region: String,
    /// Whether the bucket's name stands in the path (most stores) or in the host name (AWS).
    pub path_style: bool,
    /// Whose requests they are.
    pub credentials: Credentials,
}

/// An access key and its secret, by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The access key's id.
    pub access_key: SecretRef,
    /// The secret.
    pub secret_key: SecretRef,
}

/// The URL of a store.
enum Endpoint {
    Folder(PathBuf),
    Url(String),
}

impl FromNode for Endpoint {
    const EXPECTED: &'static str = "a URL: https://host, http://host:port or file:///folder";

    fn from_node(node: &Node) -> Result<Self, String> {
        let text = node.text().unwrap_or_default();
        if let Some(path) = text.strip_prefix("file://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Folder(path.into()));
        }
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        if host.is_empty() || host.starts_with('/') || text.contains(char::is_whitespace) {
            return Err(mismatch::<Self>(node));
        }
        if host.contains('@') {
            return Err("a URL with a password in it is not taken: give the credentials by reference".into());
        }
        Ok(Self::Url(text.trim_end_matches('/').to_owned()))
    }
}

impl Bucket {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let endpoint = section.required_or_shorthand("endpoint");
        if let Some(Endpoint::Folder(path)) = endpoint {
            section.finish();
            return Some(Self::Folder(path));
        }
        let bucket = section.required("bucket");
        let region = section.or("region", "us-east-1".to_owned());
        let path_style = section.or("path_style", true);
        let credentials = section.section("credentials", Credentials::read);
        if section.node("credentials").is_none() {
            section.problem_with(
                "credentials",
                "the credentials are missing: {env_prefix: NAME} reads NAME_ACCESS_KEY and NAME_SECRET_KEY",
            );
        }
        section.finish();
        let Some(Endpoint::Url(endpoint)) = endpoint else { return None };
        Some(Self::S3(S3Bucket { endpoint, bucket: bucket?, region, path_style, credentials: credentials? }))
    }
}

impl Credentials {
    fn read(mut section: Section<'_>) -> Option<Self> {
        if let Some(prefix) = section.optional::<String>("env_prefix") {
            section.finish();
            let variable = |ending: &str| SecretRef::Environment(format!("{prefix}{ending}"));
            return Some(Self { access_key: variable("_ACCESS_KEY"), secret_key: variable("_SECRET_KEY") });
        }
        let access_key = section.required("access_key");
        let secret_key = section.required("secret_key");
        section.finish();
        Some(Self { access_key: access_key?, secret_key: secret_key? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Credentials, S3Bucket};
    use crate::config::Config;
    use crate::secret::SecretRef;

    #[test]
    fn two_buckets_keep_their_own_credentials() {
        let text = "buckets:\n  internal: {endpoint: 'https://s3.example/', bucket: infra, credentials: {env_prefix: CSI_INTERNAL_EC2_CREDENTIALS}}\n  local: file:///srv/products\n";
        let config = Config::parse(text, "agent.yaml").expect("valid");
        let expected = Bucket::S3(S3Bucket {
            endpoint: "https://s3.example".into(),
            bucket: "infra".into(),
            region: "us-east-1".into(),
            path_style: true,
            credentials: Credentials {
                access_key: SecretRef::Environment("CSI_INTERNAL_EC2_CREDENTIALS_ACCESS_KEY".into()),
                secret_key: SecretRef::Environment("CSI_INTERNAL_EC2_CREDENTIALS_SECRET_KEY".into()),
            },
        });
        assert_eq!(config.buckets["internal"], expected);
        assert_eq!(config.buckets["local"], Bucket::Folder("/srv/products".into()));
    }

    #[test]
    fn a_bucket_without_credentials_says_how_to_give_them() {
        let error = Config::parse("buckets:\n  b: {endpoint: 'https://s3.example', bucket: x}\n", "agent.yaml")
            .expect_err("refused");
        assert!(error.to_string().contains("env_prefix"), "{error}");
    }
}

use crate::config::section::Section;
use crate::config::values::SecretFile;
use crate::secret::SecretRef;
use std::path::PathBuf;

/// Whose requests they are, always by reference. Nothing is ever looked for elsewhere: a bucket uses these or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `NAME_ACCESS_KEY` and `NAME_SECRET_KEY` (or AWS' `NAME_ACCESS_KEY_ID` and `NAME_SECRET_ACCESS_KEY`), and
    /// `NAME_SESSION_TOKEN` where there is one.
    EnvPrefix(String),
    /// Each by a reference of its own.
    Keys {
        /// The access key's id.
        access_key: SecretRef,
        /// The secret.
        secret_key: SecretRef,
        /// What belongs to temporary keys.
        session_token: Option<SecretRef>,
    },
    /// A file or systemd credential that holds both, as lines `NAME=value` or as JSON; read again from time to time.
    Document(SecretRef),
    /// A profile of AWS' files.
    Profile {
        /// Its name.
        name: String,
        /// The file; `AWS_SHARED_CREDENTIALS_FILE` or `~/.aws/credentials` unless given.
        file: Option<PathBuf>,
    },
    /// The role of the EC2 instance, from its metadata service (IMDSv2).
    InstanceRole,
    /// The role of the container, from the address in `AWS_CONTAINER_CREDENTIALS_…`.
    ContainerRole,
    /// Requests without a signature, for what everybody may read.
    Anonymous,
}

impl Credentials {
    pub(super) fn read(mut section: Section<'_>, word: Option<&str>) -> Option<Self> {
        match word {
            Some("instance_role") => return Some(Self::InstanceRole),
            Some("container_role") => return Some(Self::ContainerRole),
            Some("anonymous") => return Some(Self::Anonymous),
            Some(other) => {
                section.problem(
                    section.place(),
                    &format!(
                        "expected instance_role, container_role, anonymous or a mapping such as {{env_prefix: NAME}}, found {}",
                        if other.len() > 20 { "a longer string" } else { other }
                    ),
                );
                return None;
            }
            None => {}
        }
        section.exactly_one(&["env_prefix", "access_key", "credential", "file", "profile"]);
        if let Some(prefix) = section.optional::<String>("env_prefix") {
            section.finish();
            return Some(Self::EnvPrefix(prefix.trim_end_matches('_').to_owned()));
        }
        if let Some(name) = section.optional::<String>("profile") {
            let file = section.optional::<SecretFile>("profile_file").map(|path| path.0);
            section.finish();
            return Some(Self::Profile { name, file });
        }
        let credential = section.optional::<String>("credential").map(SecretRef::Credential);
        let file = section.optional::<SecretFile>("file").map(|path| SecretRef::File(path.0));
        if let Some(document) = credential.or(file) {
            section.finish();
            return Some(Self::Document(document));
        }
        let keys = section.has("access_key");
        let access_key = if keys { section.required("access_key") } else { section.optional("access_key") };
        let secret_key = if keys { section.required("secret_key") } else { section.optional("secret_key") };
        let session_token = section.optional("session_token");
        section.finish();
        Some(Self::Keys { access_key: access_key?, secret_key: secret_key?, session_token })
    }
}

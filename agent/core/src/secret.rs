//! Secrets by reference, and a value type that never prints itself.

use std::path::{Path, PathBuf};

/// From here the agent's unit loads its credentials.
pub const CREDENTIALS: &str = "/etc/hostwright/credentials";

/// Where a secret's value is to be found. The configuration holds references only, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// A systemd credential (systemd.exec(5), LoadCredential=): a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An environment variable.
    Environment(String),
    /// A file, whose trailing newline is not part of the secret.
    File(PathBuf),
}

/// A secret's value. `Debug` and `Display` print a placeholder.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be read. Carries the reference, never a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable.
    #[error("the environment variable {0} is not set; put it into /etc/hostwright/agent.env or set it for the process")]
    Unset(String),
    /// No such credential.
    #[error("there is no credential {name:?}; put it into {CREDENTIALS}/{name} (mode 0600) and restart the agent")]
    NoCredential {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the secret in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl SecretRef {
    /// Reads the value.
    ///
    /// # Errors
    /// The variable, credential or file is not there or cannot be read.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Environment(name) => std::env::var(name).map(Secret).map_err(|_| SecretError::Unset(name.clone())),
            Self::File(path) => read(path),
            Self::Credential(name) => {
                let no_credential = || SecretError::NoCredential { name: name.clone() };
                let folder = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(no_credential)?);
                read(&credential(&folder, name).ok_or_else(no_credential)?)
            }
        }
    }
}

/// A systemd credential's file in `$CREDENTIALS_DIRECTORY`. Loaded one by one it has its own name; loaded as a folder it
/// has the unit's prefix.
pub fn credential(folder: &Path, name: &str) -> Option<PathBuf> {
    let names = [name.to_owned(), format!("hostwright_{name}")];
    names.iter().filter(|name| !name.contains('/')).map(|name| folder.join(name)).find(|path| path.is_file())
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    Ok(Secret(text.trim_end_matches(['\n', '\r']).to_owned()))
}

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::{Secret, SecretRef};

    #[test]
    fn a_secret_prints_a_placeholder() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?}"), "(secret) (secret)");
    }

    #[test]
    fn a_secret_file_loses_its_trailing_newline_only() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("token");
        std::fs::write(&path, " a b \n").expect("written");
        assert_eq!(SecretRef::File(path).resolve().expect("resolved").expose(), " a b ");
    }
}

//! <https://docs.docker.com/reference/cli/docker/login/#credential-stores>

use super::helper;
use super::login::Login;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostwright_core::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Far more than the logins of all registries take.
const LONGEST: u64 = 1 << 20;
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// The login for a registry in the file at `path`; nobody where there is no such file or nothing in it.
pub async fn login(path: &Path, key: &str) -> Result<Login, String> {
    let text = match read(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Login::Nobody),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    // What is wrong with it is not shown: there are passwords in it.
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| {
        format!(
            "{} is not what docker login writes (line {}, column {}); run docker login again",
            path.display(),
            error.line(),
            error.column()
        )
    })?;
    let host = host_of(key);
    let helper = config.cred_helpers.iter().find(|(of, _)| host_of(of) == host).map(|(_, helper)| helper);
    if let Some(helper) = helper.or(Some(&config.creds_store).filter(|store| !store.is_empty())) {
        return helper::ask(helper, key).await;
    }
    match config.auths.iter().find(|(of, _)| host_of(of) == host) {
        Some((_, entry)) => entry.login(path, host),
        None => Ok(Login::Nobody),
    }
}

async fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt as _;
    let mut text = Vec::new();
    tokio::fs::File::open(path).await?.take(LONGEST).read_to_end(&mut text).await?;
    Ok(text)
}

/// Older files have a URL where newer ones have a host.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or(key)
}

impl Entry {
    fn login(&self, path: &Path, host: &str) -> Result<Login, String> {
        if !self.identitytoken.is_empty() {
            return Ok(Login::IdentityToken(Secret::new(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            return Ok(Login::of(&self.username, &self.password));
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (name, password) = pair.ok_or_else(|| {
            format!("the login for {host} in {} cannot be read; run docker login again", path.display())
        })?;
        Ok(Login::of(name, password.trim_end_matches('\0')))
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, login};
    use hostwright_core::secret::Secret;

    async fn of(text: &str, key: &str) -> Result<Login, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).expect("written");
        login(&path, key).await
    }

    fn user(name: &str, password: &str) -> Result<Login, String> {
        Ok(Login::User { name: name.into(), password: Secret::new(password.into()) })
    }

    #[tokio::test]
    async fn logins_are_found_by_host_whatever_the_form_of_the_key() {
        // bot:hunter2
        let text = r#"{"auths": {"r.example": {"auth": "Ym90Omh1bnRlcjI="}, "https://old.example/v2/": {"username": "a", "password": "b"}, "t.example": {"identitytoken": "t"}, "n.example": {}}}"#;
        assert_eq!(of(text, "r.example").await, user("bot", "hunter2"));
        assert_eq!(of(text, "old.example").await, user("a", "b"));
        assert_eq!(of(text, "t.example").await, Ok(Login::IdentityToken(Secret::new("t".into()))));
        assert_eq!(of(text, "n.example").await, Ok(Login::Nobody));
        assert_eq!(of(text, "other.example").await, Ok(Login::Nobody));
        assert_eq!(login("/nowhere/config.json".as_ref(), "r.example").await, Ok(Login::Nobody));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_reported_without_its_content() {
        for text in [r#"{"auths": {"r.example": {"auth": "hunter2:"}}}"#, r#"{"auths": "hunter2"}"#] {
            let why = of(text, "r.example").await.expect_err("refused");
            assert!(why.contains("docker login") && !why.contains("hunter2"), "{why}");
        }
    }
}

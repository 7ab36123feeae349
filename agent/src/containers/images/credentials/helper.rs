//! <https://github.com/docker/docker-credential-helpers>: the registry goes in on standard input, JSON comes out.

use super::login::Login;
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// A helper may ask a service on the network, but nobody sits there to answer a question.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: u64 = 1 << 20;
/// What helpers say, by custom, of a registry that they do not know.
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    username: String,
    secret: String,
}

/// Asks `docker-credential-NAME` for a registry's login.
pub async fn ask(name: &str, key: &str) -> Result<Login, String> {
    if name.contains('/') {
        return Err(format!("{name:?} is no credential helper's name: it stands behind docker-credential-"));
    }
    let program = format!("docker-credential-{name}");
    match tokio::time::timeout(PATIENCE, talk(&program, key)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("{program} gave no login for {key} within {} s", PATIENCE.as_secs())),
    }
}

async fn talk(program: &str, key: &str) -> Result<Login, String> {
    let failed = |error: std::io::Error| {
        format!("cannot run {program}, which the logins of docker name: {error}; see that it is in the agent's PATH")
    };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends without reading says why in its answer.
        let _ = input.write_all(format!("{key}\n").as_bytes()).await;
    }
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        output.take(LONGEST).read_to_string(&mut text).await.map_err(failed)?;
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        let given: Given = serde_json::from_str(&text)
            .map_err(|_| format!("what {program} gave for {key} is no login; see what `{program} get` prints"))?;
        return Ok(Login::of(&given.username, &given.secret));
    }
    if text.contains(NOT_FOUND) {
        return Ok(Login::Nobody);
    }
    // Its words are an error message: a login is only given with success.
    let words: String = text.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    Err(format!("{program} gave no login for {key}: {words} ({status})"))
}

#[cfg(test)]
mod tests {
    use super::{Login, talk};
    use hostwright_core::secret::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    async fn of(script: &str) -> Result<Login, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        talk(&path.display().to_string(), "r.example").await
    }

    #[tokio::test]
    async fn a_helper_hears_the_registry_on_its_input_and_answers_with_json() {
        let script = r#"read server; test "$1" = get && echo "{\"ServerURL\":\"$server\",\"Username\":\"$server\",\"Secret\":\"hunter2\"}""#;
        let expected = Login::User { name: "r.example".into(), password: Secret::new("hunter2".into()) };
        assert_eq!(of(script).await, Ok(expected));
        let token = r#"echo '{"ServerURL":"","Username":"<token>","Secret":"t"}'"#;
        assert_eq!(of(token).await, Ok(Login::IdentityToken(Secret::new("t".into()))));
    }

    #[tokio::test]
    async fn a_helper_without_a_login_is_nobody_and_one_that_fails_says_why() {
        assert_eq!(of("echo 'credentials not found in native keychain'; exit 1").await, Ok(Login::Nobody));
        assert!(of("echo 'the vault is locked'; exit 1").await.is_err_and(|why| why.contains("the vault is locked")));
        assert!(of("echo hunter2").await.is_err_and(|why| why.contains("no login") && !why.contains("hunter2")));
        assert!(talk("/nowhere/docker-credential-x", "r").await.is_err_and(|why| why.contains("cannot run")));
    }
}

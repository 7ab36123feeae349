use super::Keys;
use crate::bucket::error::Reason;
use crate::secret::{Secret, SecretRef};
use std::path::{Path, PathBuf};

/// The keys of a text: lines `NAME=value` whose names end as those of AWS do (`aws_access_key_id`,
/// `NAME_SECRET_KEY`), or a JSON object such as AWS' and OpenStack's tools print.
pub(super) fn keys(text: &str) -> Result<Keys, String> {
    let pairs = if text.trim_start().starts_with('{') { json(text)? } else { lines(text)? };
    of_pairs(&pairs)
}

/// The keys of a profile of AWS' credentials file.
pub(super) fn profile(name: &str, file: Option<&Path>) -> Result<Keys, Reason> {
    let path = file.map(Path::to_owned).or_else(usual_file);
    let path = path.ok_or_else(|| Reason::Keys {
        place: format!("the profile {name:?}"),
        why: "there is no HOME to look in; give the file with profile_file:".into(),
    })?;
    let text = SecretRef::File(path.clone()).resolve().map_err(Reason::Credentials)?;
    let place = || format!("the profile {name:?} in {}", path.display());
    let section = section(text.expose(), name)
        .ok_or_else(|| Reason::Keys { place: place(), why: "there is no such profile in the file".into() })?;
    let pairs = lines(&section).map_err(|why| Reason::Keys { place: place(), why })?;
    let other = ["role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];
    if let Some((key, _)) = pairs.iter().find(|(key, _)| other.contains(&key.as_str())) {
        let why = format!("{key} is not carried out here: write the keys themselves, or use instance_role");
        return Err(Reason::Keys { place: place(), why });
    }
    of_pairs(&pairs).map_err(|why| Reason::Keys { place: place(), why })
}

fn usual_file() -> Option<PathBuf> {
    let named = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    named.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".aws/credentials")))
}

/// The lines under `[name]` (in AWS' config file: `[profile name]`).
fn section(text: &str, name: &str) -> Option<String> {
    let mut found: Option<String> = None;
    let mut inside = false;
    for line in text.lines() {
        if let Some(header) = line.trim().strip_prefix('[').and_then(|line| line.split(']').next()) {
            inside = header.trim() == name || header.trim().strip_prefix("profile ").is_some_and(|n| n.trim() == name);
            if inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some(found)) = (inside, &mut found) {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

fn lines(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '[']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {} is not NAME=value", number + 1))?;
        let value = value.trim();
        let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        pairs.push((name.trim().to_ascii_lowercase(), value.to_owned()));
    }
    Ok(pairs)
}

fn json(text: &str) -> Result<Vec<(String, String)>, String> {
    // serde's own words could quote the content.
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| format!("no JSON object (line {})", error.line()))?;
    let texts = object.into_iter().filter_map(|(key, value)| Some((spelled(&key), value.as_str()?.to_owned())));
    Ok(texts.collect())
}

/// `AccessKeyId` as `access_key_id`.
fn spelled(name: &str) -> String {
    let mut spelled = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && spelled.ends_with(|c: char| c.is_ascii_lowercase()) {
            spelled.push('_');
        }
        spelled.push(c.to_ascii_lowercase());
    }
    spelled
}

fn of_pairs(pairs: &[(String, String)]) -> Result<Keys, String> {
    let find = |endings: &[&str]| {
        // `secret_access_key` ends as an access key does.
        let of_secret = endings.iter().any(|end| end.contains("secret"));
        let ends = |name: &str| endings.iter().any(|end| name == *end || name.ends_with(&format!("_{end}")));
        let fits = |name: &str| ends(name) && (of_secret || !name.contains("secret"));
        let mut found = pairs.iter().filter(|(name, value)| fits(name) && !value.is_empty());
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(format!("it holds several of {}; one pair to a file", endings.join(", "))),
            (found, _) => Ok(found.map(|(_, value)| Secret::new(value.clone()))),
        }
    };
    let missing = |what: &str| format!("it holds no {what}");
    Ok(Keys {
        access_key: find(&["access_key", "access_key_id", "access"])?.ok_or_else(|| missing("access key"))?,
        secret_key: find(&["secret_key", "secret_access_key", "secret"])?.ok_or_else(|| missing("secret key"))?,
        session_token: find(&["session_token"])?,
        expires: None,
    })
}

#[cfg(test)]
mod tests {
    use super::{keys, profile};

    fn read(text: &str) -> Result<(String, String, Option<String>), String> {
        keys(text).map(|keys| {
            let token = keys.session_token.map(|token| token.expose().to_owned());
            (keys.access_key.expose().to_owned(), keys.secret_key.expose().to_owned(), token)
        })
    }

    #[test]
    fn keys_are_read_of_lines_and_of_json_as_tools_write_them() {
        let both = |access: &str, secret: &str| Ok((access.to_owned(), secret.to_owned(), None));
        assert_eq!(read("CSI_X_ACCESS_KEY=a\nCSI_X_SECRET_KEY=b=\n"), both("a", "b="));
        assert_eq!(read("[default]\naws_access_key_id = a\naws_secret_access_key = 'b'\n# c\n"), both("a", "b"));
        assert_eq!(read("export AWS_ACCESS_KEY_ID=\"a\"\nexport AWS_SECRET_ACCESS_KEY=b\n"), both("a", "b"));
        assert_eq!(read(r#"{"access": "a", "secret": "b", "project_id": "p"}"#), both("a", "b"));
        let temporary = read(r#"{"AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "t"}"#);
        assert_eq!(temporary, Ok(("a".into(), "b".into(), Some("t".into()))));
    }

    #[test]
    fn what_is_missing_is_said_and_no_value_is_shown() {
        for (text, words) in [
            ("", "no access key"),
            ("ACCESS_KEY=hunter2", "no secret key"),
            ("hunter2", "line 1 is not"),
            ("{hunter2", "no JSON object"),
            ("A_ACCESS_KEY=hunter2\nB_ACCESS_KEY=x\nB_SECRET_KEY=y", "several of"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_profile_is_its_section_and_what_only_awss_tools_can_do_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("credentials");
        std::fs::write(&path, "[default]\naws_access_key_id=d\naws_secret_access_key=d\n[profile dev]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token=t\nregion=x\n[sso]\nsso_session=x\n").expect("written");
        let keys = profile("dev", Some(&path)).expect("read");
        assert_eq!((keys.access_key.expose(), keys.secret_key.expose()), ("a", "b"));
        for (name, words) in [("sso", "sso_session is not carried out"), ("prod", "no such profile")] {
            let error = profile(name, Some(&path)).expect_err(name).to_string();
            assert!(error.contains(words) && error.contains("credentials"), "{error}");
        }
    }
}

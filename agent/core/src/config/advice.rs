use super::Config;
use super::section::{NamedSecret, Problem};
use crate::permissions::is_for_everybody;
use crate::secret::{CREDENTIALS, SecretRef};
use crate::yaml::Node;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From where the agent's unit takes variables.
const VARIABLES: &str = "/etc/hostwright/agent.env";

/// What an operator should look at on this host although the configuration is valid: secrets that everybody may read,
/// and a Compose file that is not there.
pub fn advice(root: &Node) -> Vec<Problem> {
    let mut told = BTreeSet::new();
    let exposed = Config::secrets_of(root).into_iter().filter_map(|named| {
        let path = file_of(&named.secret);
        (is_for_everybody(&path) && told.insert(path.clone())).then(|| exposed(named, &path))
    });
    let mut advice: Vec<_> = exposed.chain(missing_compose_file(root)).collect();
    advice.sort_by_key(|advice| advice.place);
    advice
}

fn exposed(named: NamedSecret, path: &Path) -> Problem {
    let NamedSecret { place, path: keys, .. } = named;
    let file = path.display();
    let message = format!("everybody on this host may read this secret in {file}; type `chmod 600 {file}`");
    Problem { place, path: keys, message }
}

fn file_of(secret: &SecretRef) -> PathBuf {
    match secret {
        SecretRef::Credential(name) => Path::new(CREDENTIALS).join(name),
        SecretRef::Environment(_) => VARIABLES.into(),
        SecretRef::File(path) => path.clone(),
    }
}

fn missing_compose_file(root: &Node) -> Option<Problem> {
    let node = root.get("containers")?.get("compose")?;
    let path = node.text().filter(|path| !Path::new(path).exists())?;
    let message = format!("there is no {path} on this machine; no container runs until it is there");
    Some(Problem { place: node.place, path: "containers.compose".to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::advice;
    use crate::yaml::{self, Duplicates};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    fn told(text: &str) -> Vec<String> {
        let document = yaml::load(text, Duplicates::Refuse).expect("YAML");
        advice(&document.root).iter().map(ToString::to_string).collect()
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    }

    #[test]
    fn a_secret_that_everybody_may_read_is_told_once_with_what_to_type() {
        let folder = tempfile::tempdir().expect("temporary folder");
        mode(folder.path(), 0o755);
        let secret = |name: &str| {
            std::fs::write(folder.path().join(name), "hunter2").expect("written");
            mode(&folder.path().join(name), 0o644);
            folder.path().join(name).display().to_string()
        };
        let (token, key, customer) = (secret("token"), secret("tls.key"), secret("customer"));
        let (keys, clouds, shared) = (secret("keys"), secret("clouds"), secret("shared"));
        let text = format!(
            "buckets:\n  a: {{endpoint: 'https://s3.example.org', bucket: b, credentials: {{file: {keys}}}}}\n  \
             c: {{bucket: d, swift: {{cloud: x, clouds_file: {clouds}}}}}\n\
             logs:\n  sources: {{s: {{files: [/var/log/x], outputs: [p]}}}}\n  outputs:\n    \
             p: {{loki: {{url: 'https://l.example.org', headers: {{X-Team: {{file: {token}}}}}}}}}\n\
             products: {{i: {{watch: /w, bucket: a, object: {{encryption: {{customer_key: {{file: {customer}}}}}}}}}}}\n\
             api: {{tls: {{certificate: /x.pem, key: {key}}}}}\n\
             containers: {{compose: /none/compose.yaml, images: {{registries: [{{host: r.example.org, username: u, password: {{file: {shared}}}}}, \
             {{host: q.example.org, username: u, password: {{file: {shared}}}}}]}}}}\n"
        );
        let all = told(&text).join("\n");
        for file in [&token, &key, &customer, &keys, &clouds, &shared] {
            assert_eq!(all.matches(&format!("type `chmod 600 {file}`")).count(), 1, "{file}: {all}");
        }
        assert!(all.contains("containers.compose: there is no /none/compose.yaml"), "{all}");
        assert!(!all.contains("hunter2"), "{all}");
        mode(Path::new(&token), 0o640);
        assert!(!told(&text).join("").contains(&token), "its group may");
        mode(folder.path(), 0o700);
        assert_eq!(told(&text).len(), 1, "the folder keeps others out");
    }
}

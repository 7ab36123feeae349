use super::Findings;
use super::files::mode_of;
use hostwright_core::config::Config;
use hostwright_core::secret::SecretRef;
use hostwright_core::yaml::{self, Node};
use std::path::Path;

/// Warns of secrets that stand in clear where every process of the instance, and the cloud, can read them.
pub fn find(root: &Node, findings: &mut Findings) {
    for file in root.get("write_files").and_then(Node::sequence).unwrap_or_default() {
        in_file(file, findings);
    }
    for key in ["runcmd", "bootcmd"] {
        for command in root.get(key).and_then(Node::sequence).unwrap_or_default() {
            let words = command.sequence().unwrap_or(std::slice::from_ref(command));
            if let Some(name) = words.iter().filter_map(Node::text).find_map(secret_in) {
                findings.secret(command.place, key, in_clear(name));
            }
        }
    }
    if let Some(section) = root.get("hostwright") {
        of_the_agent(section, root, findings);
    }
    let passwords = root.get("users").and_then(Node::sequence).unwrap_or_default().iter();
    for node in passwords.filter_map(|user| user.get("plain_text_passwd")).chain(root.get("password")) {
        findings.secret(node.place, "", in_clear("password"));
    }
}

fn in_file(file: &Node, findings: &mut Findings) {
    let Some(content) = file.get("content") else { return };
    let Some(name) = content.text().and_then(secret_in) else { return };
    let mode = file.get("permissions").and_then(|node| mode_of(node).ok());
    if mode.unwrap_or(0o644) & 0o007 != 0 {
        findings.secret(
            content.place,
            "write_files.content",
            format!("{}, and everyone on the host may read the file: give it permissions '0600'", in_clear(name)),
        );
    } else {
        findings.secret(content.place, "write_files.content", in_clear(name));
    }
}

/// Secrets of the agent that are written for everybody, and a Compose file that nothing seems to bring.
fn of_the_agent(section: &Node, root: &Node, findings: &mut Findings) {
    let files = root.get("write_files").and_then(Node::sequence).unwrap_or_default();
    for named in Config::secrets_of(section) {
        let SecretRef::File(path) = &named.secret else { continue };
        let is_it = |file: &&Node| file.get("path").and_then(Node::text).is_some_and(|text| Path::new(text) == path);
        if let Some(file) = files.iter().find(is_it).filter(|file| is_for_everybody(file)) {
            let why = format!(
                "everyone on the host may read this secret of hostwright.{}: give the file permissions '0600'",
                named.path
            );
            findings.secret(file.place, "write_files", why);
        }
    }
    let compose = section.get("containers").and_then(|containers| containers.get("compose"));
    let Some((node, path)) = compose.and_then(|node| Some((node, node.text()?))) else { return };
    let folder = Path::new(path).parent().and_then(Path::to_str).unwrap_or(path);
    // A script, a bundle or an object may bring it, and then names it, or its folder.
    if yaml::emit(root).matches(folder).count() < 2 {
        let message = format!("nothing in this user-data brings {path}: the image must have it");
        findings.warning(node.place, "hostwright.containers.compose", message);
    }
}

fn is_for_everybody(file: &Node) -> bool {
    let mode = file.get("permissions").and_then(|node| mode_of(node).ok());
    let is_kept = file.get("content").and_then(Node::text).and_then(secret_in).is_some();
    mode.unwrap_or(if is_kept { 0o600 } else { 0o644 }) & 0o004 != 0
}

fn in_clear(name: &str) -> String {
    format!(
        "a secret seems to stand here in clear ({name}), and user-data is readable by every process of the instance"
    )
}

/// The word that gives it away, with a value behind it: `DB_PASSWORD=…`, `token: …`, `--auth-key …`.
pub fn secret_in(text: &str) -> Option<&'static str> {
    const WORDS: [&str; 9] =
        ["password", "passwd", "secret", "token", "api_key", "apikey", "authkey", "auth-key", "access_key"];
    if text.contains("PRIVATE KEY-----") {
        return Some("private key");
    }
    text.lines().find_map(|line| {
        let lower = line.to_ascii_lowercase();
        WORDS.into_iter().find(|word| lower.match_indices(word).any(|(at, _)| has_value(&lower[at + word.len()..])))
    })
}

/// `=` or `:` and then something that is neither a variable nor a path nor empty.
fn has_value(rest: &str) -> bool {
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-\"'".contains(c));
    let Some(value) = rest.trim_start().strip_prefix(['=', ':']) else { return false };
    let value = value.trim_start().trim_start_matches(['"', '\'']);
    value.chars().take_while(|c| !c.is_whitespace()).count() >= 6 && !value.starts_with(['$', '/', '{', '<'])
}

#[cfg(test)]
mod tests {
    use super::super::read;

    fn warnings(text: &str) -> Vec<String> {
        read(text.as_bytes()).findings.secrets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn secrets_in_clear_are_told_without_being_shown() {
        let found = warnings(
            "#cloud-config\nwrite_files:\n- path: /etc/app.env\n  content: |\n    DB_PASSWORD=correcthorse\n- {path: /k, permissions: '0600', content: \"-----BEGIN PRIVATE KEY-----\"}\nruncmd:\n- tailscale up --authkey=tskey-123456\n",
        );
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("password") && found[0].contains("'0600'"), "{found:?}");
        assert!(!found.iter().any(|warning| warning.contains("correcthorse") || warning.contains("tskey")));
    }

    #[test]
    fn references_are_no_secrets() {
        assert!(warnings("#cloud-config\nruncmd:\n- login --token=$TOKEN\n- passwd -l root\n- x --password-file=/run/p\nwrite_files:\n- {path: /a, content: 'token: {credential: ldp}'}\n").is_empty());
    }

    #[test]
    fn a_secret_of_the_agent_that_everybody_may_read_and_a_compose_file_that_nothing_brings_are_told() {
        let text = "#cloud-config\nwrite_files:\n\
                    - {path: /etc/keys/ldp, content: abc}\n\
                    - {path: /etc/keys/own, content: abc, permissions: '0600'}\n\
                    hostwright:\n  containers: {compose: /srv/app/compose.yaml}\n  logs:\n    \
                    sources: {s: {files: [/var/log/x], outputs: [p, q]}}\n    outputs:\n      \
                    p: {loki: {url: 'https://l.example.org', bearer: {file: /etc/keys/ldp}}}\n      \
                    q: {loki: {url: 'https://l.example.org', bearer: {file: /etc/keys/own}}}\n";
        let findings = read(text.as_bytes()).findings;
        let secrets: Vec<_> = findings.secrets.iter().map(ToString::to_string).collect();
        assert_eq!(
            secrets,
            [
                "3:3: write_files: everyone on the host may read this secret of hostwright.logs.outputs.p.loki.bearer: give the file permissions '0600'"
            ]
        );
        assert!(findings.warnings.iter().any(|warning| warning.message.contains("brings /srv/app/compose.yaml")));
        let brought =
            text.replace("hostwright:", "runcmd: [git clone https://x.example.org/app /srv/app]\nhostwright:");
        assert!(read(brought.as_bytes()).findings.warnings.is_empty());
    }
}

use super::Findings;
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::Node;
use serde::Serialize;

/// `chpasswd:` and `password:`. No `Debug`: they are secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Passwords {
    /// Users, each with a new password.
    pub users: Vec<(String, Password)>,
    /// `password:`, the default user's, which counts where no other is given.
    pub of_the_default_user: Option<Password>,
    /// Whether each must be changed at the first log-in.
    pub expire: bool,
}

/// A password. No `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub enum Password {
    /// As it is typed.
    Clear(String),
    /// As crypt(5) writes it.
    Hash(String),
    /// To be made up, and told on the console.
    Random,
}

impl Passwords {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let mut passwords = Self { expire: true, ..Self::default() };
        if let Some(Text(text)) = root.optional::<Text>("password").filter(|text| !text.0.is_empty()) {
            passwords.of_the_default_user = Some(guessed(&text));
        }
        if let Some(node) = root.node("chpasswd") {
            findings.whole(node, "chpasswd", |section, findings| passwords.read_section(section, findings));
        }
        passwords
    }

    fn read_section(&mut self, mut section: Section<'_>, findings: &mut Findings) -> Option<()> {
        self.expire = section.or("expire", Flag(true)).0;
        if let Some(node) = section.node("list") {
            self.read_list(node, findings);
        }
        if let Some(node) = section.node("users") {
            for item in section.items("users", node).unwrap_or_default() {
                self.users.extend(findings.whole(item, "chpasswd.users", |section, _| user(section)));
            }
        }
        section.finish();
        Some(())
    }

    /// `list:`, of `user:password` in lines or items.
    fn read_list(&mut self, node: &Node, findings: &mut Findings) {
        let lines: Vec<(&Node, &str)> = match (node.sequence(), node.text()) {
            (Some(items), _) => items.iter().map(|item| (item, item.text().unwrap_or_default())).collect(),
            (None, Some(text)) => {
                text.lines().filter(|line| !line.trim().is_empty()).map(|line| (node, line)).collect()
            }
            (None, None) => vec![(node, "")],
        };
        for (node, line) in lines {
            match line.split_once(':') {
                Some((name, password)) if !name.trim().is_empty() && !password.is_empty() => {
                    self.users.push((name.trim().to_owned(), guessed(password)));
                }
                // The line is never shown: half of it may be a password.
                _ => findings.error(node.place, "chpasswd.list", "expected user:password".to_owned()),
            }
        }
    }
}

fn user(mut section: Section<'_>) -> Option<(String, Password)> {
    let name = section.required::<String>("name");
    let password = section.optional::<Text>("password").map(|text| text.0);
    let kind = section.or("type", Text("hash".into())).0;
    let password = match (kind.as_str(), password) {
        ("RANDOM", _) => Some(Password::Random),
        ("hash" | "text", None) => {
            section.problem(section.place(), "the key \"password\" is missing; only type: RANDOM goes without one");
            None
        }
        ("hash", Some(text)) => Some(Password::Hash(text)),
        ("text", Some(text)) => Some(Password::Clear(text)),
        _ => {
            section.problem_with("type", &format!("expected hash, text or RANDOM, found {kind:?}"));
            None
        }
    };
    section.finish();
    Some((name?, password?))
}

/// What looks as crypt(5) writes a hash is one; `R` and `RANDOM` are made up.
fn guessed(text: &str) -> Password {
    let mut fields = text.split('$');
    let starts = fields.next() == Some("");
    let kind = fields.next().is_some_and(|kind| ["1", "2a", "2b", "2y", "5", "6", "7", "y", "gy"].contains(&kind));
    match text {
        "R" | "RANDOM" => Password::Random,
        _ if starts && kind && fields.count() >= 2 && !text.contains(':') => Password::Hash(text.to_owned()),
        _ => Password::Clear(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::Password;

    #[test]
    fn lists_lines_and_users_are_read_as_cloud_init_reads_them() {
        for text in [
            "chpasswd:\n  list: |\n    a:secret:1\n    b:$6$salt$hash\n    c:R\n  expire: false\n",
            "chpasswd:\n  list: ['a:secret:1', 'b:$6$salt$hash', 'c:RANDOM']\n  expire: no\n",
            "chpasswd:\n  expire: 'False'\n  users:\n  - {name: a, password: 'secret:1', type: text}\n  - {name: b, password: $6$salt$hash}\n  - {name: c, type: RANDOM}\n",
        ] {
            let user_data = read(format!("#cloud-config\n{text}").as_bytes());
            assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
            let passwords = user_data.config.passwords;
            let users: Vec<_> = passwords.users.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!((users, passwords.expire), (vec!["a", "b", "c"], false));
            assert!(matches!(&passwords.users[0].1, Password::Clear(text) if text == "secret:1"));
            assert!(matches!(&passwords.users[1].1, Password::Hash(text) if text == "$6$salt$hash"));
            assert!(matches!(&passwords.users[2].1, Password::Random));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_showing_it() {
        let user_data = read(b"#cloud-config\npassword: 12345\nchpasswd: {list: [hunter2], users: [{name: a}, {name: b, password: x, type: rot}]}\n");
        let told: Vec<_> = user_data.findings.errors.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(!told.concat().contains("hunter2"));
        assert!(
            matches!(&user_data.config.passwords.of_the_default_user, Some(Password::Clear(text)) if text == "12345")
        );
    }
}

use super::Findings;
use hostwright_core::yaml::Node;

/// One of `runcmd:` or `bootcmd:`, as a line for `/bin/sh`.
///
/// A list of arguments is quoted into such a line, as cloud-init does, so that `[cd, /opt]` works as `cd /opt` does.
pub fn read(key: &'static str, node: Option<&Node>, findings: &mut Findings) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    let Some(items) = node.sequence() else {
        findings.error(node.place, key, format!("expected a list of commands, found {}", node.kind()));
        return Vec::new();
    };
    items.iter().filter(|item| !item.is_null()).filter_map(|item| command(key, item, findings)).collect()
}

/// Whether `cloud_final_modules:` has `[scripts-user, always]`, by which people have their scripts run at each boot.
pub fn are_for_each_boot(node: Option<&Node>, findings: &mut Findings) -> bool {
    let mut found = false;
    let items = node.map(|node| node.sequence().unwrap_or(std::slice::from_ref(node))).unwrap_or_default();
    for item in items {
        let words: Vec<_> = item.sequence().unwrap_or_default().iter().filter_map(Node::text).collect();
        match (words.first().map(|name| name.replace('-', "_")).as_deref(), words.get(1)) {
            (Some("scripts_user"), Some(&often)) => found |= often == "always",
            _ => {
                let why = "only [scripts-user, always] is heeded: which modules there are is the image's to say";
                findings.not_done(item.place, "cloud_final_modules", why);
            }
        }
    }
    found
}

/// One command, as a line for `/bin/sh`.
pub fn command(key: &str, node: &Node, findings: &mut Findings) -> Option<String> {
    if let Some(line) = node.text() {
        return Some(line.to_owned());
    }
    let arguments: Option<Vec<&str>> = node.sequence().and_then(|items| items.iter().map(Node::text).collect());
    match arguments {
        Some(arguments) if !arguments.is_empty() => {
            Some(arguments.into_iter().map(quoted).collect::<Vec<_>>().join(" "))
        }
        _ => {
            let found = node.kind();
            findings.error(node.place, key, format!("expected a command: a string or a list of strings, found {found}; put a line with ': ' in it in quotes"));
            None
        }
    }
}

/// Quoted for a POSIX shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn scripts_may_be_wanted_at_each_boot() {
        let of = |modules: &str| {
            let user_data = read(format!("#cloud-config\ncloud_final_modules:\n{modules}").as_bytes());
            (user_data.config.commands_at_each_boot, user_data.findings.ignored.len())
        };
        assert_eq!(of("- [scripts-user, always]\n"), (true, 0));
        assert_eq!(of("- [scripts_user, once-per-instance]\n"), (false, 0));
        assert_eq!(of("- rightscale_userdata\n- [users-groups, always]\n- ['scripts-user', 'always']\n"), (true, 2));
    }

    #[test]
    fn strings_stay_and_lists_are_quoted() {
        let user_data =
            read(b"#cloud-config\nruncmd:\n- echo $HOME\n- [sh, -c, \"it's\"]\n-\n- [cd, /opt]\n- a: b\n- 7\n");
        assert_eq!(user_data.config.runcmd, ["echo $HOME", r"sh -c 'it'\''s'", "cd /opt", "7"]);
        assert_eq!(user_data.findings.errors.len(), 1);
        assert!(user_data.findings.errors[0].to_string().starts_with("7:3: runcmd: expected a command"));
    }
}

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
    fn strings_stay_and_lists_are_quoted() {
        let user_data =
            read(b"#cloud-config\nruncmd:\n- echo $HOME\n- [sh, -c, \"it's\"]\n-\n- [cd, /opt]\n- a: b\n- 7\n");
        assert_eq!(user_data.config.runcmd, ["echo $HOME", r"sh -c 'it'\''s'", "cd /opt", "7"]);
        assert_eq!(user_data.findings.errors.len(), 1);
        assert!(user_data.findings.errors[0].to_string().starts_with("7:3: runcmd: expected a command"));
    }
}

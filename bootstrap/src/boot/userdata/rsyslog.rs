use super::Findings;
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use hostwright_core::config::values::AbsolutePath;
use hostwright_core::yaml::Node;
use serde::Serialize;

/// `rsyslog:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rsyslog {
    /// Files with their content, whole.
    pub files: Vec<(String, String)>,
    /// The command that makes it count; nothing for the distribution's.
    pub reload: Option<Vec<String>>,
    /// Packages to install where there is no such program.
    pub install: Option<(String, Vec<String>)>,
}

const FOLDER: &str = "/etc/rsyslog.d";
const FILE: &str = "20-cloud-config.conf";

impl Rsyslog {
    /// Reads the top-level key.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        let node = root.node("rsyslog")?;
        if node.sequence().is_some() {
            // Its oldest form: the list of configs alone, with the place of their files beside it.
            let folder = root.or("rsyslog_dir", AbsolutePath(FOLDER.into())).0;
            let file = root.or("rsyslog_filename", Text(FILE.into())).0;
            let mut files = Files::new(&folder.display().to_string(), &file);
            files.read(node, findings);
            return Some(Self { files: files.files, reload: None, install: None });
        }
        findings.whole(node, "rsyslog", rsyslog)
    }
}

fn rsyslog(mut section: Section<'_>, findings: &mut Findings) -> Option<Rsyslog> {
    let folder = section.or("config_dir", Text(FOLDER.into())).0;
    let file = section.or("config_filename", Text(FILE.into())).0;
    let mut files = Files::new(&folder, &file);
    if let Some(node) = section.node("configs") {
        files.read(node, findings);
    }
    if let Some(mapping) = section.node("remotes").and_then(Node::mapping) {
        let mut lines = String::from("# begin remotes\n");
        for entry in mapping.entries.iter().filter(|entry| !entry.value.is_null()) {
            match entry.value.text().and_then(|text| remote(text, &entry.key)) {
                Some(line) => lines.push_str(&format!("{line}\n")),
                None => {
                    let message = "expected [filter] [@|@@]host[:port], such as @@logs.example.org:514".to_owned();
                    findings.error(entry.value.place, &format!("rsyslog.remotes.{}", entry.key), message);
                }
            }
        }
        files.add(&file, &format!("{lines}# end remotes\n"));
    }
    let reload = section.node("service_reload_command").filter(|node| node.text() != Some("auto"));
    let reload = reload.and_then(|_| section.list("service_reload_command"));
    let install = section.or("install_rsyslog", Flag(false)).0;
    let program = section.or("check_exe", Text("rsyslogd".into())).0;
    let packages = section.list("packages").unwrap_or_else(|| vec!["rsyslog".to_owned()]);
    if !folder.starts_with('/') {
        section.problem_with("config_dir", "expected an absolute path such as /etc/rsyslog.d");
    }
    section.finish();
    Some(Rsyslog { files: files.files, reload, install: install.then_some((program, packages)) })
}

/// Files that grow while the section is read.
struct Files {
    folder: String,
    default: String,
    files: Vec<(String, String)>,
}

impl Files {
    fn new(folder: &str, default: &str) -> Self {
        Self { folder: folder.to_owned(), default: default.to_owned(), files: Vec::new() }
    }

    fn add(&mut self, name: &str, content: &str) {
        // As Python's os.path.join: a path that is absolute stands for itself.
        let path = if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("{}/{name}", self.folder.trim_end_matches('/'))
        };
        let end = if content.ends_with('\n') { "" } else { "\n" };
        match self.files.iter_mut().find(|(other, _)| *other == path) {
            Some((_, whole)) => whole.push_str(&format!("{content}{end}")),
            None => self.files.push((path, format!("{content}{end}"))),
        }
    }

    fn read(&mut self, node: &Node, findings: &mut Findings) {
        for item in node.sequence().unwrap_or(std::slice::from_ref(node)) {
            let content = item.text().or_else(|| item.get("content").and_then(Node::text));
            let name = item.get("filename").and_then(Node::text).unwrap_or(&self.default).trim().to_owned();
            match content {
                Some(content) if !name.is_empty() && !name.contains("..") => self.add(&name, content),
                _ => findings.error(
                    item.place,
                    "rsyslog.configs",
                    "expected a text, or {filename: …, content: …}".to_owned(),
                ),
            }
        }
    }
}

/// A line of rsyslog's from a short form of it.
fn remote(text: &str, name: &str) -> Option<String> {
    let (data, comment) = text.split_once('#').map_or((text, None), |(data, comment)| (data, Some(comment.trim())));
    let words: Vec<_> = data.split_whitespace().collect();
    let (filter, target) = match words[..] {
        [target] => ("*.*", target),
        [filter, target] => (filter, target),
        _ => return None,
    };
    let host = target.trim_start_matches('@');
    let protocol = match target.len() - host.len() {
        0 | 1 => "@",
        2 => "@@",
        _ => return None,
    };
    let (address, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (format!("[{address}]"), port.strip_prefix(':')),
        None => match host.split_once(':') {
            Some((address, port)) => (address.to_owned(), Some(port)),
            None => (host.to_owned(), None),
        },
    };
    let port = match port {
        Some(port) => format!(":{}", port.parse::<u16>().ok()?),
        None => String::new(),
    };
    let name = if name.is_empty() { comment.unwrap_or_default() } else { name };
    (!address.is_empty()).then(|| format!("{filter} {protocol}{address}{port} # {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::read;

    #[test]
    fn configs_and_remotes_become_files() {
        let user_data = read(
            b"#cloud-config\nrsyslog:\n  config_dir: /etc/r/\n  configs:\n  - '*.* @a'\n  - {content: x, filename: 01.conf}\n  - {content: y}\n  remotes: {one: 10.0.0.1, two: 'auth.* @@[fd00::1]:515', none: , bad: 'a b c'}\n  service_reload_command: [true]\n",
        );
        assert_eq!(user_data.findings.errors.len(), 1, "{:?}", user_data.findings.errors);
        let rsyslog = user_data.config.rsyslog.expect("rsyslog");
        assert_eq!(
            rsyslog.files,
            [
                (
                    "/etc/r/20-cloud-config.conf".to_owned(),
                    "*.* @a\ny\n# begin remotes\n*.* @10.0.0.1 # one\nauth.* @@[fd00::1]:515 # two\n# end remotes\n"
                        .to_owned()
                ),
                ("/etc/r/01.conf".to_owned(), "x\n".to_owned())
            ]
        );
        assert_eq!(rsyslog.reload.as_deref(), Some(&["true".to_owned()][..]));
        let old = read(b"#cloud-config\nrsyslog: ['*.* @b']\nrsyslog_dir: /etc/r\nrsyslog_filename: b.conf\n");
        assert_eq!(old.config.rsyslog.expect("rsyslog").files, [("/etc/r/b.conf".to_owned(), "*.* @b\n".to_owned())]);
    }
}

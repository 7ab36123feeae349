use super::network::{self, Interfaces};
use super::userdata::{self, findings::Findings, modules::MODULES};
use anyhow::Context as _;
use hostwright_core::config::section::Problem;
use hostwright_core::config::{Config, ConfigError, advice};
use hostwright_core::yaml::{self, Duplicates};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `hostwright-bootstrap check`
#[derive(clap::Args, Debug)]
pub struct CheckArguments {
    /// A user-data of any format, a network-config, a network_data.json or an `agent.yaml`.
    pub file: PathBuf,
    /// How the problems are told.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How the problems are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `FILE:LINE:COLUMN: …`, a line each, to standard error.
    Text,
    /// One object, to standard output.
    Json,
}

/// More than any cloud hands over; larger files are no user-data.
const MAX_BYTES: u64 = 16 << 20;
/// As in the usage text: a file with problems.
pub const PROBLEMS: u8 = 2;

/// What a file is, and what is wrong with it.
struct Checked {
    kind: &'static str,
    findings: Findings,
}

/// Reports every problem of a file with line and column, and touches nothing.
///
/// # Errors
/// It cannot be read.
pub fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.file;
    let content =
        super::host::read_bounded(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
    let checked = look(&content);
    let is_valid = match arguments.format {
        Format::Text => {
            let is_valid = tell(path, &checked.findings);
            if is_valid {
                println!("{} is valid: {}", path.display(), checked.kind);
            } else if checked.kind == AGENT && !is_meant_for_the_agent(&String::from_utf8_lossy(&content)) {
                let hint = "if this shall be a user-data, its first line must be #cloud-config, or #! for a script";
                eprintln!("{}: {hint}", path.display());
            }
            is_valid
        }
        Format::Json => {
            let object = as_json(path, &checked);
            println!("{object}");
            object["valid"] == json!(true)
        }
    };
    Ok(if is_valid { ExitCode::SUCCESS } else { ExitCode::from(PROBLEMS) })
}

/// Whether what was taken for an agent's configuration has anything of one.
fn is_meant_for_the_agent(text: &str) -> bool {
    let Ok(document) = yaml::load(text, Duplicates::LastWins) else { return false };
    let entries = document.root.mapping().map(|mapping| &mapping.entries[..]).unwrap_or_default();
    let is_cloud_config = |key: &str| key == "hostwright" || MODULES.iter().any(|module| module.keys.contains(&key));
    let is_known = |key: &str| ["buckets", "products", "host", "containers", "logs", "metrics", "api"].contains(&key);
    entries.iter().any(|entry| is_known(&entry.key)) && !entries.iter().any(|entry| is_cloud_config(&entry.key))
}

const AGENT: &str = "a configuration of the agent";

fn look(content: &[u8]) -> Checked {
    if content.trim_ascii().is_empty() {
        return Checked { kind: "empty: nothing is configured by it", findings: Findings::default() };
    }
    if is_user_data(content) {
        let user_data = userdata::read(content);
        let has_scripts = !user_data.scripts.is_empty() || !user_data.boothooks.is_empty();
        let kind = match has_scripts {
            _ if !user_data.waiting.is_empty() => "what it includes is fetched at boot, and not looked at here",
            true => "with a script, which is run once for each instance",
            false => "a #cloud-config",
        };
        return Checked { kind, findings: without_instance(user_data.findings) };
    }
    let text = String::from_utf8_lossy(content);
    let mut findings = Findings::default();
    if let Some(description) = network::described(&text) {
        // Names of interfaces are this machine's only on the machine itself.
        findings.errors = network::render(&description, &Interfaces::default()).problems;
        return Checked { kind: "a description of the network", findings };
    }
    if let Err(ConfigError::Invalid { problems, .. }) = Config::parse(&text, "") {
        findings.errors = problems;
    }
    if let Ok(document) = yaml::load(&text, Duplicates::Refuse) {
        findings.warnings = advice(&document.root);
    }
    Checked { kind: AGENT, findings }
}

/// What a template makes of variables that only an instance has is no problem of the file.
fn without_instance(mut findings: Findings) -> Findings {
    let of_an_instance = ["CI_MISSING_JINJA_VAR", "undefined value"];
    let is_the_files = |problem: &Problem| !of_an_instance.iter().any(|words| problem.message.contains(words));
    findings.errors.retain(is_the_files);
    findings.ignored.retain(is_the_files);
    // What stands under `v1` is the same for every instance.
    let is_of_an_instance =
        |message: &str| message.ends_with("is not known of this instance") && !message.contains("\"v1.");
    findings.warnings.retain(|problem| !is_of_an_instance(&problem.message));
    findings
}

/// A user-data says so in its first line, or tries to (`# cloud-config`), or is packed.
fn is_user_data(content: &[u8]) -> bool {
    let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content).trim_ascii_start();
    let start = text[..text.len().min(20)].to_ascii_lowercase();
    let head = content[..content.len().min(4096)].to_ascii_lowercase();
    let is_meant = || {
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let letters: Vec<u8> =
            line.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
        line.starts_with(b"#") && letters == b"cloudconfig"
    };
    let words = ["#cloud-", "#!", "#include", "#part-handler", "## template:"];
    words.iter().any(|word| start.starts_with(word.as_bytes()))
        || is_meant()
        || content.starts_with(b"\x1f\x8b")
        || userdata::is_encoded(content)
        || head.windows(13).any(|window| window == b"mime-version:")
}

/// Checks what a new VM shall get as its user-data, and tells what is wrong with it; whether nothing is.
pub fn is_sound_user_data(path: &Path, content: &[u8]) -> bool {
    if !is_user_data(content) {
        eprintln!("{}: this is no user-data; the first line of one is #cloud-config", path.display());
        return false;
    }
    tell(path, &without_instance(userdata::read(content).findings))
}

/// Prints the findings in the file's order; whether there are only warnings.
fn tell(path: &Path, findings: &Findings) -> bool {
    let mut problems = [&findings.errors[..], &findings.ignored].concat();
    problems.sort_by_key(|problem| problem.place);
    for problem in findings.warnings.iter().chain(&findings.secrets) {
        eprintln!("{}:{}", path.display(), problem.as_warning());
    }
    for problem in &problems {
        eprintln!("{}:{problem}", path.display());
    }
    problems.is_empty()
}

/// `severity` is `error` (left out), `ignored` (a key that is not carried out), `warning` or `secret`.
fn as_json(path: &Path, checked: &Checked) -> serde_json::Value {
    let Findings { errors, ignored, warnings, secrets, .. } = &checked.findings;
    let all = [("error", errors), ("ignored", ignored), ("warning", warnings), ("secret", secrets)];
    let mut problems: Vec<_> =
        all.into_iter().flat_map(|(severity, list)| list.iter().map(move |problem| (severity, problem))).collect();
    problems.sort_by_key(|(_, problem)| problem.place);
    let of = |(severity, problem): &(&str, &Problem)| {
        json!({"line": problem.place.line, "column": problem.place.column, "severity": severity,
            "key": problem.path, "message": problem.message})
    };
    json!({
        "file": path.display().to_string(),
        "kind": checked.kind,
        "valid": errors.is_empty() && ignored.is_empty(),
        "problems": problems.iter().map(of).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::{as_json, look};
    use std::path::Path;

    #[test]
    fn every_kind_of_file_is_known_by_its_content_and_checked_as_that() {
        for (content, kind, is_valid) in [
            ("#cloud-config\nhostname: a\n", "a #cloud-config", true),
            (
                "## template: jinja\n#cloud-config\nhostname: {{ v1.local_hostname }}-{{ ds.meta_data.x }}\n",
                "a #cloud-config",
                true,
            ),
            // In base64.
            ("I2Nsb3VkLWNvbmZpZwpob3N0\nbmFtZTogYQo=\n", "a #cloud-config", true),
            ("#include\nhttps://x/a\n", "what it includes is fetched at boot, and not looked at here", true),
            ("# cloud_config\nhostname: a\n", "a #cloud-config", false),
            ("version: 2\nethernets: {eth0: {dhcp4: true}}\n", "a description of the network", true),
            ("network: {version: 1, config: [{type: bogus}]}\n", "a description of the network", false),
            ("{\"links\": [], \"networks\": []}", "a description of the network", true),
            ("metrics: {listen: '0.0.0.0:9100'}\n", super::AGENT, true),
            ("metrcs: {}\n", super::AGENT, false),
        ] {
            let checked = look(content.as_bytes());
            let object = as_json(Path::new("f"), &checked);
            assert_eq!((checked.kind, &object["valid"]), (kind, &is_valid.into()), "{content}: {object}");
        }
        let object = as_json(Path::new("f"), &look(b"#cloud-config\nhostnme: a\n"));
        assert_eq!(
            (object["problems"][0]["line"].as_u64(), object["problems"][0]["key"].as_str()),
            (Some(2), Some("hostnme"))
        );
    }
}

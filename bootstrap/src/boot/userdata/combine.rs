use super::files::WriteFile;
use super::findings::{Findings, START};
use super::heat::Heat;
use super::merge::Merging;
use super::parts::{Kind, Part, Parts, When, type_by_start};
use super::template::{self, Refused};
use super::{CloudConfig, Sources, patch, schema, secrets};
use hostwright_core::config::section::Problem;
use hostwright_core::yaml::{self, Duplicates, Mapping, Node, Place, Value};

/// A script of the user-data or of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Script {
    /// Its file's name: the order of names is the order of runs.
    pub name: String,
    /// From its first line on.
    pub text: String,
    /// How often it is run.
    pub when: When,
    /// Whether it is the cloud's, which come before all others.
    pub is_vendors: bool,
}

impl Script {
    /// cloud-init keeps the commands of `runcmd:` among the scripts, by this name.
    pub fn runs_before_commands(&self) -> bool {
        self.is_vendors || self.when != When::WithCommands || self.name.as_str() < "runcmd"
    }

    /// The order of runs.
    pub fn rank(&self) -> (u8, &str) {
        let rank = match self.when {
            _ if self.is_vendors => 0,
            When::Once => 1,
            When::Boot => 2,
            When::Instance => 3,
            When::WithCommands => 4,
        };
        (rank, &self.name)
    }
}

/// What the parts of one source come to, not read yet.
pub struct Combined {
    /// All parts' cloud-config, merged.
    pub document: Node,
    /// In the order of runs.
    pub scripts: Vec<Script>,
    /// In the order of parts.
    pub boothooks: Vec<Script>,
    /// Files that a part is.
    pub files: Vec<WriteFile>,
    /// What is wrong with the parts.
    pub findings: Findings,
    /// Places that only the network reaches.
    pub waiting: Vec<String>,
    /// The documents that were merged.
    documents: usize,
}

/// Merges the parts of a source and sorts its scripts.
pub fn combine(parts: &Parts, sources: &Sources<'_>) -> Combined {
    let mut combined = Combined {
        document: empty(),
        scripts: Vec::new(),
        boothooks: Vec::new(),
        files: Vec::new(),
        findings: Findings::default(),
        waiting: parts.waiting.clone(),
        documents: 0,
    };
    combined.findings.warnings.extend(parts.warnings.iter().cloned());
    combined.findings.errors.extend(parts.errors.iter().chain(&parts.left_out).cloned());
    let is_ours =
        |part: &&Part| part.launch_index.is_none() || part.launch_index == sources.launch_index.or(part.launch_index);
    for part in parts.list.iter().filter(is_ours) {
        combined.part(part, sources);
    }
    combined.scripts.sort_by(|one, other| one.rank().cmp(&other.rank()));
    if !parts.errors.is_empty() {
        // As in cloud-init, a user-data that cannot be had whole is not carried out at all.
        combined.document = empty();
        combined.scripts.clear();
        combined.boothooks.clear();
        combined.files.clear();
    }
    combined
}

/// A first line that was meant as one of a format, as it is: `, "# cloud-config",`. Of others nothing is shown.
fn shown_comment(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
    let is_meant = line.starts_with('#') && line.len() < 40;
    if is_meant { format!(", {line:?},") } else { String::new() }
}

impl Combined {
    fn part(&mut self, part: &Part, sources: &Sources<'_>) {
        if let Some(heat) = Heat::of(part) {
            return self.heat(heat, part);
        }
        match &part.kind {
            Kind::CloudConfig => self.cloud_config(part, sources),
            Kind::JsonPatch => match patch::apply(&self.document, &part.text) {
                Ok(document) => self.document = document,
                Err(why) => self.error(part, &format!("the patch is not applied: {why}")),
            },
            Kind::Template => self.template(part, sources),
            Kind::Script(when) => self.script(part, *when),
            Kind::Boothook => self.boothook(part),
            Kind::PartHandler => {
                self.error(
                    part,
                    "a #part-handler is Python code for cloud-init: it is not done here; write a #! script",
                );
            }
            Kind::Unknown(_) if part.text.trim().is_empty() => {}
            Kind::Unknown(kind) if kind == "text/x-not-multipart" => {
                let remedy = "begin with #cloud-config (or with #! for a script)";
                self.error(part, &format!("the first line{} says of no format: {remedy}", shown_comment(&part.text)));
            }
            Kind::Unknown(kind) => {
                let message =
                    format!("the part {:?} is of the type {kind:?}, which nobody knows: it is passed over", part.name);
                self.findings.warning(place_of(part), "", message);
            }
        }
    }

    fn heat(&mut self, heat: Heat, part: &Part) {
        match heat {
            Heat::Needless => {}
            Heat::File(file) => self.files.push(file),
            Heat::Script(file) => {
                self.files.push(file);
                self.script(part, When::WithCommands);
            }
            Heat::NoScript(file) => {
                self.files.push(file);
                let message = "Heat runs this only if it begins with #!: say user_data_format: RAW in its template";
                self.findings.warning(place_of(part), "", message.to_owned());
            }
        }
    }

    fn error(&mut self, part: &Part, message: &str) {
        self.error_at(place_of(part), part, message);
    }

    fn error_at(&mut self, place: Place, part: &Part, message: &str) {
        let whose = if part.name == "part-001" { String::new() } else { format!("the part {:?}: ", part.name) };
        self.findings.error(place, "", format!("{whose}{message}"));
    }

    fn cloud_config(&mut self, part: &Part, sources: &Sources<'_>) {
        let padded;
        let text = match part.lines_before {
            // Lines before it, so that places are the file's own.
            Some(lines) if lines > 0 => {
                padded = "\n".repeat(lines) + &part.text;
                &padded
            }
            _ => &part.text,
        };
        let mut findings = Findings::default();
        match yaml::load(text, Duplicates::LastWins) {
            Ok(document) => {
                for warning in document.warnings {
                    findings.warning(warning.place, "", warning.message);
                }
                if let Some((place, tag)) = foreign_tag(&document.root) {
                    let message = format!(
                        "the tag {tag} is not known: a cloud-config is plain YAML; put the value in quotes if it begins with '!'"
                    );
                    findings.error(place, "", message);
                } else if document.root.mapping().is_some() {
                    self.merge(document.root, part, sources, &mut findings);
                } else if !document.root.is_null() {
                    let found = document.root.kind();
                    findings.error(document.root.place, "", format!("expected a mapping of keys, found {found}"));
                }
            }
            Err(error) => findings.error(error.place, "", error.message),
        }
        if part.lines_before.is_none() {
            let whose = format!(" (line of the part {:?}, unpacked)", part.name);
            findings.each(|problem| problem.message.push_str(&whose));
        }
        self.findings.append(findings);
    }

    fn merge(&mut self, mut root: Node, part: &Part, sources: &Sources<'_>, findings: &mut Findings) {
        let own = root.get("launch-index").and_then(Node::text).and_then(|index| index.parse::<i64>().ok());
        if part.launch_index.is_none()
            && own.is_some_and(|own| sources.launch_index.is_some_and(|wanted| wanted != own))
        {
            return;
        }
        let place = root.place;
        let merging = match Merging::take(&mut root, &part.merge) {
            Ok(merging) => merging,
            Err(why) => return findings.error(place, "merge_how", why),
        };
        // Each part is looked at by itself, because in the merged whole nobody knows where a value came from.
        secrets::find(&root, findings);
        CloudConfig::read(&root, findings);
        schema::look(&root, findings);
        let before = std::mem::replace(&mut self.document, empty());
        match merging.merge(before.clone(), root) {
            Ok(document) => {
                self.document = document;
                self.documents += 1;
            }
            Err(why) => {
                self.document = before;
                findings.error(place, "merge_how", why);
            }
        }
    }

    fn template(&mut self, part: &Part, sources: &Sources<'_>) {
        let rendered = match template::render(&part.text, &sources.instance_data) {
            Ok(rendered) => rendered,
            Err(Refused { place, why }) => {
                let why = format!("the template cannot be rendered: {why}");
                return self.error_at(place_in(part, place), part, &why);
            }
        };
        for (place, name) in rendered.missing {
            let message = format!("the template names {name:?}, which is not known of this instance");
            self.findings.warning(place_in(part, place), "", message);
        }
        let kind = match type_by_start(&rendered.text) {
            Some("text/cloud-config" | "text/cloud-config-jsonp") => Kind::CloudConfig,
            Some("text/x-shellscript") => Kind::Script(When::WithCommands),
            Some("text/cloud-boothook") => Kind::Boothook,
            _ if rendered.text.trim().is_empty() => return,
            _ => return self.error(part, "the rendered template is no #cloud-config, script or boothook"),
        };
        let lines_before = part.lines_before.map(|lines| lines + 1);
        self.part(&Part { kind, text: rendered.text, lines_before, ..part.clone() }, sources);
    }

    fn script(&mut self, part: &Part, when: When) {
        // Scripts of other kinds lose the folders of their names; in these the slash is replaced.
        let name = match when {
            When::WithCommands => file_name(&part.name),
            _ => file_name(part.name.rsplit('/').next().unwrap_or_default()),
        };
        let script = Script { name, text: unix_lines(part.text.trim_start()), when, is_vendors: false };
        // A later file of the same name takes the place of the earlier one.
        self.scripts.retain(|other| other.name != script.name || other.when != when);
        self.scripts.push(script);
    }

    fn boothook(&mut self, part: &Part) {
        let text = unix_lines(part.text.trim_start());
        // In another spelling the word stays, a comment of the script.
        let text = text.strip_prefix("#cloud-boothook").unwrap_or(&text).trim_start().to_owned();
        let mut name = file_name(&part.name);
        // Each of them is run, also where two have one name.
        while self.boothooks.iter().any(|hook| hook.name == name) {
            name.push('_');
        }
        self.boothooks.push(Script { name, text, when: When::Boot, is_vendors: false });
    }

    /// Takes in the scripts of what counts less: of two of a name the earlier one stays.
    pub fn take_scripts(&mut self, scripts: Vec<Script>, boothooks: Vec<Script>) {
        for (into, from) in [(&mut self.scripts, scripts), (&mut self.boothooks, boothooks)] {
            for script in from {
                let is_same = |other: &Script| {
                    other.name == script.name && other.when == script.when && other.is_vendors == script.is_vendors
                };
                if !into.iter().any(is_same) {
                    into.push(script);
                }
            }
        }
    }

    /// Reads what the parts came to. With one document its findings are those of the part already.
    pub fn read(self) -> super::UserData {
        let Self { document, scripts, boothooks, files, mut findings, waiting, documents } = self;
        let mut of_the_whole = Findings::default();
        let mut config = CloudConfig::read(&document, &mut of_the_whole);
        config.files.extend(files);
        if documents != 1 {
            let is_new = |problem: &Problem| !findings.errors.iter().any(|known| known.path == problem.path);
            let fresh: Vec<_> = of_the_whole.errors.into_iter().filter(is_new).collect();
            findings.errors.extend(fresh);
        }
        findings.sort();
        super::UserData { config, scripts, boothooks, findings, waiting }
    }
}

/// The first tag that is an application's own: cloud-init refuses such a document.
fn foreign_tag(node: &Node) -> Option<(Place, &str)> {
    if let Some(tag) = node.tag.as_deref().filter(|tag| *tag != "!!binary" && *tag != "!") {
        return Some((node.place, tag));
    }
    match &node.value {
        Value::Sequence(items) => items.iter().find_map(foreign_tag),
        Value::Mapping(mapping) => mapping.entries.iter().find_map(|entry| foreign_tag(&entry.value)),
        Value::Scalar { .. } => None,
    }
}

/// A document without keys.
pub fn empty() -> Node {
    Node { place: START, tag: None, value: Value::Mapping(Mapping::default()) }
}

fn place_of(part: &Part) -> Place {
    place_in(part, START)
}

/// A place of a part's text in the file.
fn place_in(part: &Part, place: Place) -> Place {
    Place { line: part.lines_before.unwrap_or(0) + place.line, ..place }
}

/// Letters that cloud-init leaves in the names of files.
pub fn file_name(name: &str) -> String {
    let name: String = name.replace('/', "_");
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.()".contains(*c)).collect();
    if name.trim_matches('.').is_empty() { "script".to_owned() } else { name }
}

/// Scripts that were written on Windows.
fn unix_lines(text: &str) -> String {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => text.replace("\r\n", "\n"),
        _ => text.to_owned(),
    }
}

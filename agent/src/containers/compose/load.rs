use super::dotenv;
use super::interpolate::fill;
use super::project::{Around, Noted, Project};
use super::variables::Variables;
use hostwright_core::config::ConfigError;
use hostwright_core::config::section::Problem;
use hostwright_core::yaml::{self, Duplicates, Entry, Node, Place, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What came of reading a Compose file.
#[derive(Debug)]
pub struct Loaded {
    /// Every file that was read or looked for: a change in one of them calls for reading again.
    pub files: Vec<PathBuf>,
    pub project: Result<Project, ConfigError>,
}

/// Reads and checks a Compose file; `project` is the project's name where the agent's own file gives one.
pub fn load(path: &Path, project: Option<&str>) -> Loaded {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut files = vec![path.to_owned(), folder.join(".env")];
    let project = read(path, project, Variables::of_process(folder), &mut files);
    Loaded { files, project }
}

fn read(
    path: &Path,
    project: Option<&str>,
    mut variables: Variables,
    files: &mut Vec<PathBuf>,
) -> Result<Project, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
    let beside = path.with_file_name(".env");
    if beside.exists() {
        let start = Place { line: 1, column: 1 };
        let entries = dotenv::read(&beside, &variables, false)
            .map_err(|message| invalid(&name, vec![Problem { place: start, path: String::new(), message }]))?;
        // Through a map, so that the last of several entries of one name counts.
        variables.add(entries.into_iter().collect::<BTreeMap<_, _>>());
    }
    parse(&text, Around { file: path, project, variables: &variables }, files)
        .map_err(|problems| invalid(&name, problems))
}

fn invalid(name: &str, problems: Vec<Problem>) -> ConfigError {
    ConfigError::Invalid { name: name.to_owned(), problems }
}

fn parse(text: &str, around: Around<'_>, files: &mut Vec<PathBuf>) -> Result<Project, Vec<Problem>> {
    let mut root = yaml::load(text, Duplicates::Refuse)
        .map_err(|error| vec![Problem { place: error.place, path: String::new(), message: error.message }])?
        .root;
    let noted = Noted::default();
    let mut filler = Filler { variables: around.variables, noted: &noted, filled: Vec::new(), unfilled: Vec::new() };
    filler.root(&mut root);
    let (filled, unfilled) = (filler.filled, filler.unfilled);
    let read = Project::read(&root, around, &noted, files);
    let Noted { problems, notes } = noted;
    match (read, problems.into_sorted()) {
        (Some(mut project), problems) if problems.is_empty() => {
            project.notes = notes.into_sorted();
            Ok(project)
        }
        (_, mut problems) => {
            problems.iter_mut().for_each(|problem| hide(problem, &filled));
            // Where filling in failed, what reading says of the template only repeats it.
            let mut told = Vec::new();
            problems.retain(|problem| {
                let again = unfilled.contains(&problem.place) && told.contains(&problem.place);
                told.push(problem.place);
                !again
            });
            Err(problems)
        }
    }
}

/// A scalar into which variables were filled.
struct Filled {
    place: Place,
    before: String,
    after: String,
}

/// Shows a value as it is written in the file: what a variable holds may be a secret.
fn hide(problem: &mut Problem, filled: &[Filled]) {
    let here = filled.iter().filter(|filled| filled.place == problem.place && !filled.after.is_empty());
    for Filled { before, after, .. } in here {
        problem.message = problem.message.replace(&format!("{after:?}"), &format!("{before:?}"));
        problem.message = problem.message.replace(after, before);
    }
}

struct Filler<'a> {
    variables: &'a Variables,
    noted: &'a Noted,
    filled: Vec<Filled>,
    /// Where that failed.
    unfilled: Vec<Place>,
}

impl Filler<'_> {
    /// Fills in everything but the operator's own `x-` keys, which are nobody's values until an alias uses them.
    fn root(&mut self, root: &mut Node) {
        let Value::Mapping(mapping) = &mut root.value else { return };
        for entry in mapping.entries.iter_mut().filter(|entry| !entry.key.starts_with("x-")) {
            self.node(&mut entry.value, &entry.key, 1);
        }
    }

    fn node(&mut self, node: &mut Node, path: &str, depth: usize) {
        let place = node.place;
        match &mut node.value {
            Value::Sequence(items) => items.iter_mut().for_each(|item| self.node(item, path, depth + 1)),
            Value::Mapping(mapping) => {
                // The attributes of a service, a network or a volume are two levels down.
                let own = |entry: &Entry| depth == 2 && entry.key.starts_with("x-");
                for entry in mapping.entries.iter_mut().filter(|entry| !own(entry)) {
                    self.node(&mut entry.value, &format!("{path}.{}", entry.key), depth + 1);
                }
            }
            Value::Scalar { text, plain } if text.contains('$') => match fill(text, self.variables) {
                Ok(filled) => {
                    for name in filled.unset {
                        self.noted.notes.note(
                            place,
                            path,
                            format!("the variable {name} is not set; empty text is used"),
                        );
                    }
                    // A value has the type of its text (`"${PORT}"` is a number), but empty text is no null.
                    *plain = !matches!(filled.text.as_str(), "" | "~" | "null" | "Null" | "NULL");
                    let before = std::mem::replace(text, filled.text);
                    self.filled.push(Filled { place, before, after: text.clone() });
                }
                Err(message) => {
                    self.unfilled.push(place);
                    self.noted.problems.note(place, path, message);
                }
            },
            Value::Scalar { .. } => {}
        }
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;

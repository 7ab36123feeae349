use super::model::{self, Fault, Request, Variables};
use super::project::Project;
use hostwright_core::config::ConfigError;
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
    load_with(path, project, Variables::of_process(folder))
}

/// The canonical model of files as JSON, and what was odd in them.
pub fn canonical(request: &Request) -> Result<(String, Vec<String>), ConfigError> {
    let folder = request.files.first().and_then(|file| file.parent()).unwrap_or(Path::new("/"));
    let loaded = model::load(request, Variables::of_command(folder));
    let notes = model::shortened(loaded.notes.clone(), |note| note.message.clone());
    let notes = notes.into_iter().map(|note| {
        let file = loaded.sources.get(note.at.file).map(|file| file.display().to_string()).unwrap_or_default();
        format!("{file}:{}", note.into_problem())
    });
    let (notes, sources) = (notes.collect(), loaded.sources.clone());
    // What is refused anyway need not be printed.
    let is_refused = !loaded.faults.is_empty();
    let print = |model: model::Model| match model.unprintable() {
        faults if !faults.is_empty() => Err(faults),
        _ if is_refused => Ok(String::new()),
        _ => Ok(model.to_json()),
    };
    let json = loaded.finish(print).map_err(|faults| model::error(&sources, faults))?;
    Ok((json, notes))
}

pub fn load_with(path: &Path, project: Option<&str>, variables: Variables) -> Loaded {
    let request = Request { files: vec![path.to_owned()], name: project.map(str::to_owned), ..Request::default() };
    let mut loaded = model::load(&request, variables);
    let mut files = std::mem::take(&mut loaded.watched);
    let (sources, noted) = (loaded.sources.clone(), std::mem::take(&mut loaded.notes));
    let project = match loaded.finish(|model| Project::read(&model, path, &mut files)) {
        Ok((mut project, notes)) => {
            let notes = model::shortened(noted.into_iter().chain(notes).collect(), |note| note.message.clone());
            project.notes = notes.into_iter().map(Fault::into_problem).collect();
            Ok(project)
        }
        Err(faults) => Err(model::error(&sources, faults)),
    };
    Loaded { files, project }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;

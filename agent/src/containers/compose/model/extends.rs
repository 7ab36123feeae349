use super::fault::{Checked, Fault, one};
use super::merge;
use super::path::Path as Keys;
use super::paths;
use super::reset::Resets;
use super::session::{Base, Session};
use super::tree::{At, Map, Tree, Value};
use super::variables::Variables;
use std::path::{Path, PathBuf};

/// More services that extend each other are a mistake, and would cost stack.
const MAX_CHAIN: usize = 64;

/// What services are extended with.
#[derive(Clone, Copy, Debug)]
pub struct Extends<'a> {
    /// The file in which they stand, as its index and its path.
    pub file: (usize, &'a Path),
    /// Where files that services name begin.
    pub folder: &'a Path,
    pub variables: &'a Variables,
}

impl Extends<'_> {
    /// Lays each service of a document over the one that it extends.
    pub fn apply(&self, session: &mut Session, document: &mut Map, resets: &Resets) -> Checked<()> {
        let Some(services) = document.get_mut("services") else { return Ok(()) };
        let at = services.at;
        let Some(services) = services.as_map_mut() else {
            return one(Fault::new(at, &Keys::of("services"), "expected a mapping of services"));
        };
        let names: Vec<String> = services.keys().cloned().collect();
        for name in names {
            let merged = self.service(session, &name, services, (resets, &[]))?;
            services.insert(name, merged);
        }
        Ok(())
    }

    fn service(
        &self,
        session: &mut Session,
        name: &str,
        services: &mut Map,
        (resets, chain): (&Resets, &[(PathBuf, String)]),
    ) -> Checked<Tree> {
        let Some(service) = services.get(name).cloned() else {
            return Ok(Tree::new(At::start(self.file.0), Value::Null));
        };
        let keys = Keys::of(&format!("services.{name}"));
        if service.is_null() {
            return Ok(service);
        }
        let Some(own) = service.as_map() else {
            return one(Fault::new(service.at, &keys, format!("expected a mapping, found {}", service.kind())));
        };
        let Some(extends) = own.get("extends") else { return Ok(service) };
        let Some((other, file)) = target(extends) else {
            let message = "extends needs the key \"service\", a service's name; \"file\" may name the file that has it";
            return one(Fault::new(extends.at, &keys, message));
        };
        let mut loaded = None;
        let step = match file {
            Some(file) => {
                let path = PathBuf::from(paths::clean(&self.folder.join(file).display().to_string()));
                loaded = Some(self.file(session, &path, extends.at)?);
                path
            }
            None => self.file.1.to_owned(),
        };
        let (source, base_resets) = match &mut loaded {
            Some((base, resets)) => (base, &*resets),
            None => (&mut *services, &Resets::default()),
        };
        if !source.contains_key(&other) {
            let place = file.map_or_else(String::new, |file| format!(" in {file}"));
            return one(Fault::new(
                extends.at,
                &keys,
                format!("extends the service {other:?}, which is not there{place}"),
            ));
        }
        let chain = longer(chain, (step, name.to_owned())).ok_or_else(|| {
            vec![Fault::new(
                extends.at,
                &keys,
                "extends itself, directly or through others; services cannot extend each other in a circle",
            )]
        })?;
        let mut base = self.service(session, &other, source, (base_resets, &chain))?;
        if base.is_null() {
            return Ok(service);
        }
        session.copy(&base, extends.at)?;
        resets.apply_to_service(name, &mut base);
        let Value::Map(base) = base.value else { return Ok(service) };
        let mut merged = merge::service(base, own.clone()).map_err(|faults| renamed(faults, name))?;
        merged.remove("extends");
        let merged = Tree::new(service.at, Value::Map(merged));
        services.insert(name.to_owned(), merged.clone());
        Ok(merged)
    }

    /// The services of another file, in canonical form and with their paths resolved.
    fn file(&self, session: &mut Session, path: &Path, at: At) -> Checked<(Map, Resets)> {
        let (mut model, resets) = session.base(&Base { path, at, variables: self.variables })?;
        paths::resolve(&mut model, path.parent().unwrap_or(Path::new("/")))?;
        match model.remove("services").map(|services| services.value) {
            Some(Value::Map(services)) => Ok((services, resets)),
            _ => one(Fault::bare(at, format!("{} has no services", path.display()))),
        }
    }
}

fn target(extends: &Tree) -> Option<(String, Option<&str>)> {
    match &extends.value {
        Value::Text(name) => Some((name.clone(), None)),
        Value::Map(map) => {
            let file = map.get("file").filter(|file| !file.is_null());
            if file.is_some_and(|file| file.as_text().is_none()) {
                return None;
            }
            Some((map.get("service")?.as_text()?.to_owned(), file.and_then(Tree::as_text)))
        }
        _ => None,
    }
}

fn longer(chain: &[(PathBuf, String)], step: (PathBuf, String)) -> Option<Vec<(PathBuf, String)>> {
    let fits = !chain.contains(&step) && chain.len() < MAX_CHAIN;
    fits.then(|| chain.iter().cloned().chain([step]).collect())
}

fn renamed(faults: Vec<Fault>, name: &str) -> Vec<Fault> {
    let rename =
        |fault: Fault| Fault { path: fault.path.replacen("services.x", &format!("services.{name}"), 1), ..fault };
    faults.into_iter().map(rename).collect()
}

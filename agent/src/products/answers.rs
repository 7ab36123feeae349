use super::ask::{Ask, Pushed, State};
use super::find::Place;
use super::folder::{Kind, is_gone};
use super::pipeline::{Done, Pipeline};
use super::rule::{Rule, is_temporary};
use super::sighting::{Cause, Eyes, Sightings};
use hostwright_core::config::products::Form;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// So many products are pushed at once.
pub(super) const MOST: usize = 10_000;

/// What others ask of a pipeline.
impl Pipeline {
    pub(super) fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Push { path, answer } => match self.inside(&path) {
                Some(inner) => self.see_all(inner, Cause::Asked, Ask::Push { path, answer }),
                None => {
                    let _ = answer.send(Vec::new());
                }
            },
            Ask::Clear { path, answer } => match self.inside(&path) {
                Some(inner) => self.see_all(inner, Cause::Look, Ask::Clear { path, answer }),
                None => {
                    let _ = answer.send(Ok(()));
                }
            },
            Ask::State { path, answer } => {
                let _ = answer.send(self.state_of(&path));
            }
        }
    }

    /// The path in the watched folder; that of all of it where it lies in what is asked for.
    fn inside(&self, path: &Path) -> Option<String> {
        let watch = &self.setting.product.watch;
        match path.strip_prefix(watch) {
            Ok(inner) => inner.to_str().map(str::to_owned),
            Err(_) => watch.starts_with(path).then(String::new),
        }
    }

    /// Looks at a product, or at all in a folder.
    fn see_all(&mut self, inner: String, cause: Cause, ask: Ask) {
        self.see(
            move |eyes| {
                if cause == Cause::Asked
                    && let Some(why) = never_taken(eyes, &inner)
                {
                    return Ok(Sightings { refused: vec![(inner, why)], ..Sightings::default() });
                }
                let (finder, rule) = (&eyes.finder, &eyes.finder.rule);
                let is_folder = || matches!(finder.folder.kind(&inner), Ok(Kind::Folder(_)));
                let product = rule.product_of(&inner).map(str::to_owned);
                // A folder that has the name of a file may have products in it.
                let product = product.filter(|_| rule.form == Form::Folder || !is_folder());
                let is_one =
                    cause == Cause::Asked && !inner.is_empty() && matches!(finder.look_anyway(&inner), Ok(Some(_)));
                match product {
                    Some(product) => eyes.look(&[(product, cause)]),
                    None if is_one && !has_products(eyes, &inner) => eyes.look(&[(inner, cause)]),
                    None => eyes.walk(&inner, cause, MOST),
                }
            },
            move |result| Done::Answer(Box::new((result, ask))),
        );
    }

    pub(super) fn answer(&mut self, result: io::Result<Sightings>, ask: Ask) {
        match ask {
            Ask::Push { path, answer } => {
                let pushed = match result {
                    Ok(sightings) => self.push(sightings),
                    Err(error) => {
                        let why = format!("it cannot be looked at: {error}");
                        vec![self.pushed(&path.display().to_string(), State::Refused { why })]
                    }
                };
                let _ = answer.send(pushed);
            }
            Ask::Clear { path, answer } => {
                let _ = answer.send(match result {
                    Ok(sightings) => {
                        let open = open(&sightings);
                        self.looked(Ok(sightings));
                        open.map_or(Ok(()), Err)
                    }
                    // What is not there, or is a file of another kind, has nothing open in it.
                    Err(error) if is_gone(&error) => Ok(()),
                    Err(error) => Err(format!("{} cannot be looked at: {error}", path.display())),
                });
            }
            Ask::State { .. } => {}
        }
    }

    fn push(&mut self, sightings: Sightings) -> Vec<Pushed> {
        let paths: BTreeSet<String> = sightings.open.iter().map(|sighting| sighting.found.path.to_string()).collect();
        let settled: Vec<_> = sightings.settled.iter().map(ToString::to_string).collect();
        let (refused, more) = (sightings.refused.clone(), sightings.has_more());
        self.looked(Ok(sightings));
        self.gate.hurry();
        let mut pushed: Vec<_> =
            paths.iter().chain(&settled).map(|path| self.pushed(path, self.state_of(path))).collect();
        pushed.extend(refused.into_iter().map(|(path, why)| self.pushed(&path, State::Refused { why })));
        if more {
            let why = format!("there are more than {MOST}; push again once these are uploaded");
            pushed.push(self.pushed("", State::Refused { why }));
        }
        pushed
    }

    fn pushed(&self, path: &str, state: State) -> Pushed {
        Pushed { product: self.setting.name.to_string(), path: path.to_owned(), state }
    }

    fn state_of(&self, path: &str) -> State {
        let failure = self.queue.failure_of(path).map(|failure| failure.sentence());
        if let Some(under_way) = self.uploading.get(path) {
            return State::Uploading { key: under_way.key.to_string() };
        }
        if let Some(why) =
            failure.or_else(|| self.gate.trouble().map(str::to_owned).filter(|_| self.queue.key_of(path).is_some()))
        {
            return State::Failed { why };
        }
        if let Some(key) = self.queue.key_of(path) {
            let held = self.queue.held().find(|(held, _)| &***held == path).map(|(_, why)| why.clone());
            return State::Waiting { key: key.to_string(), held };
        }
        if let Some(why) = self.intake.refused.get(path) {
            return State::Refused { why: why.clone() };
        }
        if let Some((_, who)) = self.intake.waiting.in_use().find(|(used, _)| &***used == path) {
            return State::Refused { why: format!("it is open for writing by {who}; it is taken once that ends") };
        }
        match self.uploader.ledger.key_of(path) {
            Some(claim) => State::Uploaded { key: claim.key.to_string() },
            None => {
                State::Refused { why: "it is not finished, has nothing in it, or is no product of this folder".into() }
            }
        }
    }
}

/// Why nothing at a path is taken, even if somebody asks for it.
fn never_taken(eyes: &Eyes, inner: &str) -> Option<String> {
    if inner.is_empty() {
        return None;
    }
    let (finder, rule) = (&eyes.finder, &eyes.finder.rule);
    let product = rule.product_of(inner);
    if product.is_none()
        && let Some(why) = name_never_taken(rule, inner)
    {
        return Some(why);
    }
    match (finder.folder.kind(product.unwrap_or(inner)), rule.form) {
        (Ok(Kind::Neither), _) => Some("it is neither a file nor a folder".into()),
        (Ok(Kind::File(_)), Form::Folder) => Some("products of this folder are folders, and this is a file".into()),
        (Err(error), _) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            Some("it is a symbolic link or behind one, and none is followed in a watched folder".into())
        }
        _ => None,
    }
}

fn name_never_taken(rule: &Rule, inner: &str) -> Option<String> {
    let ends = inner.match_indices('/').map(|(at, _)| at).chain([inner.len()]);
    if let Some(excluded) = ends.map(|end| &inner[..end]).find(|above| rule.is_excluded(above)) {
        return Some(format!("{excluded:?} fits `exclude`"));
    }
    if let Some(name) = inner.split('/').find(|name| is_temporary(name)) {
        return Some(format!("{name:?} is the name of what is hidden or not finished; rename it"));
    }
    let is_sign = rule.is_a_sign(inner);
    is_sign.then(|| "it says that something else is finished, and is no product itself; push that".to_owned())
}

fn has_products(eyes: &Eyes, folder: &str) -> bool {
    let mut any = false;
    let _ = eyes.finder.walk(Place::before(folder), &mut |_| {
        any = true;
        std::ops::ControlFlow::Break(())
    });
    any
}

/// What of some products is not confirmed.
fn open(sightings: &Sightings) -> Option<String> {
    if let Some(sighting) = sightings.open.first() {
        let more = sightings.open.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        return Some(format!("{:?}{more} not uploaded yet", sighting.found.path));
    }
    sightings.refused.first().map(|(path, why)| format!("{path:?} is not taken: {why}"))
}

use super::claims::{Claim, Claims, Owner};
use super::found::Found;
use super::key::{check, numbered};
use super::offer::Offer;
use super::piece::check_keys;
use super::rule::Spoken;
use super::sighting::{Cause, Eyes, Sighting, Sightings};
use super::waiting::{STILL_OPEN, Waiting};
use super::watch::{Happened, Watch, What};
use hostwright_core::config::products::{Conflict, Finished, Form};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A product that changed this long before it was first seen may have been uploaded by somebody who has forgotten it.
const OLD: Duration = Duration::from_secs(60);
/// What was made in place where products are renamed into place, and was not renamed since, waits this long.
const NOT_RENAMED: Duration = Duration::from_secs(60);
/// More products than this of one key are a mistake.
const MOST_VERSIONS: u32 = 1000;
/// So many paths are looked at in one go.
pub(super) const AT_A_TIME: usize = 1000;

/// Says which products are finished, and under which keys they are to be uploaded.
#[derive(Debug)]
pub(super) struct Intake {
    product: Arc<str>,
    conflict: Conflict,
    pub(super) eyes: Eyes,
    claims: Arc<Claims>,
    pub(super) watch: Watch,
    pub(super) waiting: Waiting,
    /// Why paths are not taken; of each walk anew.
    pub(super) refused: BTreeMap<String, String>,
    walked_before: bool,
}

/// What is to be looked at after something happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) paths: Vec<(String, Cause)>,
    /// Folders that are gone through.
    pub(super) folders: BTreeMap<String, bool>,
    pub(super) everything: bool,
}

impl Intake {
    /// Takes the keys of products that are confirmed already.
    pub(super) fn new(product: Arc<str>, conflict: Conflict, eyes: Eyes, claims: Arc<Claims>) -> Self {
        for (path, claim) in eyes.ledger.claims() {
            // Where two have it, the ledgers of two products were joined: the one that is confirmed keeps it.
            let _ = claims.take(&claim, &Owner { product: product.clone(), path });
        }
        let (watch, waiting) = (Watch::default(), Waiting::default());
        Self { product, conflict, eyes, claims, watch, waiting, refused: BTreeMap::new(), walked_before: false }
    }

    /// What is to be looked at after this.
    pub(super) fn after(&mut self, happened: Happened) -> Next {
        let rule = &self.eyes.finder.rule;
        let mut next = Next { everything: happened.everything, ..Next::default() };
        let mut seen = BTreeSet::new();
        // The last word on a path counts: a file that was made, written and closed is looked at once.
        for (path, what) in happened.events.into_iter().rev() {
            if rule.is_a_sign(&path) && matches!(what, What::Made | What::Closed | What::MovedIn) {
                match rule.spoken_for(&path) {
                    Spoken::Below(folder) => match rule.product_of(folder).filter(|_| rule.form == Form::Folder) {
                        Some(product) => next.paths.push((product.to_owned(), Cause::Look)),
                        None => next.add_folder(folder, false),
                    },
                    Spoken::Beside { folder, name } => {
                        let slash = if folder.is_empty() { "" } else { "/" };
                        let product = format!("{folder}{slash}{name}");
                        match self.eyes.finder.folder.kind(&product) {
                            Ok(_) if rule.product_of(&product) == Some(product.as_str()) => {
                                next.paths.push((product, Cause::Look));
                            }
                            _ => next.add_folder(folder, false),
                        }
                    }
                }
            } else if let Some(product) = rule.product_of(&path) {
                let itself = product == path;
                let said = match rule.finished {
                    Finished::Renamed => itself && what == What::MovedIn,
                    Finished::Closed => itself && matches!(what, What::MovedIn | What::Closed),
                    _ => false,
                };
                if !seen.insert(product.to_owned()) {
                    continue;
                }
                match rule.finished {
                    _ if itself && what == What::Gone => self.waiting.remove(product),
                    Finished::Quiet(quiet) => {
                        next.everything |= !self.waiting.postpone(&product.into(), Instant::now(), quiet);
                    }
                    // Its own events say when it is finished, those of its files do not.
                    _ if itself => next.paths.push((product.to_owned(), if said { Cause::Said } else { Cause::Look })),
                    _ => {}
                }
            } else if matches!(what, What::Folder | What::MovedIn) && rule.is_entered(&path) {
                next.add_folder(&path, what == What::MovedIn && rule.finished == Finished::Renamed);
            }
        }
        next.paths.reverse();
        next
    }

    /// Takes those that are finished out of what was seen; the others are looked at again in time.
    pub(super) fn take(&mut self, sightings: Sightings) -> Vec<Offer> {
        self.refused.extend(sightings.refused);
        for path in sightings.gone.iter().map(String::as_str).chain(sightings.settled.iter().map(|path| &**path)) {
            self.waiting.remove(path);
            self.refused.remove(path);
        }
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut offers = Vec::new();
        for sighting in sightings.open {
            let path = sighting.found.path.clone();
            self.refused.remove(&*path);
            if !self.is_finished(&sighting, now, wall) {
                continue;
            }
            self.waiting.remove(&path);
            match self.offer(sighting.found, sighting.cause == Cause::Asked) {
                Ok(offer) => offers.push(offer),
                Err(why) => {
                    self.refused.insert(path.to_string(), why);
                }
            }
        }
        offers
    }

    /// Takes what a walk of everything brought: what is refused is told anew.
    pub(super) fn take_all(&mut self, sightings: Sightings) -> Vec<Offer> {
        self.refused.clear();
        let offers = self.take(sightings);
        self.walked_before = true;
        offers
    }

    pub(super) fn has_walked(&self) -> bool {
        self.walked_before
    }

    fn is_finished(&mut self, sighting: &Sighting, now: Instant, wall: SystemTime) -> bool {
        let Sighting { found, cause, has_sign, writer } = sighting;
        let (path, stamp) = (&found.path, found.stamp);
        let said = *cause == Cause::Said || self.waiting.was_said(path);
        let since = self.waiting.unchanged_since(path, &stamp, now, wall);
        if let Some(who) = writer {
            self.waiting.put(path, stamp, [since, now + STILL_OPEN], said || *cause == Cause::Asked);
            self.waiting.used_by(path, who.clone());
            return false;
        }
        let quiet = match &self.eyes.finder.rule.finished {
            _ if *cause == Cause::Asked => return true,
            Finished::Closed => return true,
            Finished::Push => return self.waiting.was_said(path),
            Finished::Marker(_) | Finished::Job => {
                if !has_sign {
                    self.waiting.remove(path);
                }
                return *has_sign;
            }
            Finished::Renamed if said || found.was_renamed => return true,
            Finished::Renamed => NOT_RENAMED,
            Finished::Quiet(quiet) => *quiet,
        };
        let due = since + quiet;
        if due <= now {
            return true;
        }
        // Without room a walk finds it again.
        self.waiting.put(path, stamp, [since, due], false);
        false
    }

    fn offer(&mut self, found: Found, at_once: bool) -> Result<Offer, String> {
        let Eyes { keys, ledger, .. } = &self.eyes;
        let fingerprint = &found.stamp.fingerprint;
        let asked = match ledger.intent(&found.path, fingerprint) {
            Some(earlier) => earlier,
            None => keys.render(&found, Timestamp::now())?,
        };
        let is_known = ledger.key_of(&found.path).is_some();
        let key = self.claim(&found, &asked, 1)?;
        if self.eyes.keys.template.is_of_the_moment() {
            self.eyes.ledger.intend(&found.path, fingerprint, &asked);
        }
        let may_be_there = !self.walked_before || is_known || found.stamp.age(SystemTime::now()) > OLD;
        let asked = if *key == *asked { key.clone() } else { asked.into() };
        Ok(Offer { found, key, asked, may_be_there, at_once })
    }

    /// Takes a key for a product: the one that was asked for, or one with a number from `first` on.
    pub(super) fn claim(&self, found: &Found, asked: &str, first: u32) -> Result<Arc<str>, String> {
        let owner = Owner { product: self.product.clone(), path: found.path.clone() };
        let mut taken = None;
        for number in first..=MOST_VERSIONS {
            let key = numbered(asked, number);
            // Very many have their paths for keys: one text does for both.
            let key: Arc<str> = if *key == *found.path { found.path.clone() } else { key.into() };
            check(&key).and_then(|()| check_keys(found, &key))?;
            let claim = Claim { place: self.eyes.place.clone(), key: key.clone() };
            match self.claims.take(&claim, &owner) {
                Ok(()) => return Ok(key),
                Err(other) if self.conflict == Conflict::Refuse => {
                    taken = Some(other);
                    break;
                }
                Err(_) => {}
            }
        }
        let Some(Owner { product, path }) = taken else {
            return Err(format!("its key {asked:?} and {MOST_VERSIONS} others with numbers are taken"));
        };
        Err(format!("its key {asked:?} belongs to {path:?} of {product}; rename one, or tell them apart in `key`"))
    }

    /// Gives a key back that a product has no more.
    pub(super) fn give_back(&self, path: &Arc<str>, claim: &Claim) {
        self.claims.give_back(claim, &Owner { product: self.product.clone(), path: path.clone() });
    }
}

impl Next {
    fn add_folder(&mut self, path: &str, said: bool) {
        *self.folders.entry(path.to_owned()).or_default() |= said;
    }
}

impl Drop for Intake {
    /// An intake that is made anew takes its keys anew.
    fn drop(&mut self) {
        self.claims.give_back_all(&self.product);
    }
}

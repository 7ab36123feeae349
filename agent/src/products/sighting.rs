use super::ages::Ages;
use super::find::{Finder, Place, Seen};
use super::folder::is_gone;
use super::found::Found;
use super::key::Keys;
use super::ledger::Ledger;
use super::writers::writers;
use hostwright_core::config::products::{Afterwards, Finished};
use jiff::Timestamp;
use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// So many products at once are looked at for who writes them: one look at all processes at most for each lot.
const LOT: usize = 1000;

/// Looks at paths, and says of what it finds what the ledger does not settle. It works on threads that may block.
#[derive(Clone, Debug)]
pub(super) struct Eyes {
    pub(super) finder: Finder,
    pub(super) keys: Keys,
    pub(super) ledger: Arc<Ledger>,
    /// The bucket.
    pub(super) place: Arc<str>,
    pub(super) afterwards: Afterwards,
    pub(super) ages: Arc<Ages>,
}

/// Why a path is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// To see whether it is finished.
    Look,
    /// Its producer has just said that it is.
    Said,
    /// An operator wants it now.
    Asked,
}

/// A product that was seen and is not settled.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) found: Found,
    pub(super) cause: Cause,
    /// Whether a marker or the file of a job says that it is finished, where that is the rule.
    pub(super) has_sign: bool,
    /// Who writes it.
    pub(super) writer: Option<String>,
}

/// What came of looking.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    pub(super) open: Vec<Sighting>,
    /// Confirmed, and still here although they are to go.
    pub(super) to_clear: Vec<Found>,
    /// Confirmed and as they are to be.
    pub(super) settled: Vec<Arc<str>>,
    /// Not there, or no product.
    pub(super) gone: Vec<String>,
    pub(super) refused: Vec<(String, String)>,
    /// Folders that an earlier process was deleting.
    pub(super) deleting: Vec<String>,
    /// Whether a folder could not be read: what was not seen is then not gone.
    pub(super) incomplete: bool,
    /// Whether there is more to be cleared than was asked for.
    pub(super) more: bool,
    /// Where there is more that is open.
    pub(super) rest: Option<Place>,
}

impl Sightings {
    /// Whether there is more than was asked for.
    pub(super) fn has_more(&self) -> bool {
        self.more || self.rest.is_some()
    }
}

impl Eyes {
    /// Looks at some paths.
    ///
    /// # Errors
    /// Who writes what cannot be found out.
    pub(super) fn look(&self, paths: &[(String, Cause)]) -> io::Result<Sightings> {
        let mut sightings = Sightings::default();
        let mut found = Vec::new();
        for (path, cause) in paths {
            match self.look_at(path, *cause) {
                Ok(Some(Seen::Product(product))) => match self.settled(&product) {
                    Some(Settled::Stays) => sightings.settled.push(product.path.clone()),
                    Some(Settled::Goes) => sightings.to_clear.push(product),
                    None => found.push((product, *cause)),
                },
                Ok(Some(Seen::Refused(path, why) | Seen::Unread(path, why))) => sightings.refused.push((path, why)),
                Ok(Some(Seen::Deleting(_)) | None) => sightings.gone.push(path.clone()),
                Err(error) if is_gone(&error) => sightings.gone.push(path.clone()),
                Err(error) => sightings.refused.push((path.clone(), format!("it cannot be looked at: {error}"))),
            }
        }
        for lot in lots(found) {
            sightings.open.extend(self.sight(lot)?);
        }
        Ok(sightings)
    }

    fn look_at(&self, path: &str, cause: Cause) -> io::Result<Option<Seen>> {
        match self.finder.look(path)? {
            None if cause == Cause::Asked => self.finder.look_anyway(path),
            seen => Ok(seen),
        }
    }

    /// Goes through a folder and those in it; gives at most so many open ones, and the place of the first that it does not
    /// give. Those beyond are seen all the same: at the end of a walk of everything the ledger forgets what is gone.
    ///
    /// # Errors
    /// The folder itself cannot be read, or who writes what cannot be found out.
    pub(super) fn walk(&self, path: &str, cause: Cause, at_most: usize) -> io::Result<Sightings> {
        let mut tour = Tour { eyes: self, cause, at_most, found: Vec::new(), sightings: Sightings::default() };
        let rest = tour.go(Place::before(path), ControlFlow::Break(()))?;
        if let Some(rest) = &rest {
            tour.go(rest.clone(), ControlFlow::Continue(()))?;
        }
        tour.end(rest)
    }

    /// Goes on where a walk had enough, until it has so many again.
    ///
    /// # Errors
    /// As [`Self::walk`].
    pub(super) fn go_on(&self, rest: Place, at_most: usize) -> io::Result<Sightings> {
        let (found, sightings) = (Vec::new(), Sightings::default());
        let mut tour = Tour { eyes: self, cause: Cause::Look, at_most, found, sightings };
        let rest = tour.go(rest, ControlFlow::Break(()))?;
        tour.end(rest)
    }

    fn sight(&self, lot: Vec<(Found, Cause)>) -> io::Result<Vec<Sighting>> {
        let (products, causes): (Vec<Found>, Vec<Cause>) = lot.into_iter().unzip();
        let mut writers: HashMap<usize, String> = writers(&self.finder.folder, &products)?;
        let all = products.into_iter().zip(causes).enumerate();
        Ok(all
            .map(|(place, (found, cause))| {
                let has_sign = self.finder.has_sign(&found);
                Sighting { found, cause, has_sign, writer: writers.remove(&place) }
            })
            .collect())
    }

    /// Whether the bucket has confirmed the product as it is.
    fn settled(&self, found: &Found) -> Option<Settled> {
        // A folder in which nothing is yet is no product of a producer who gives no sign.
        if found.is_empty() && !matches!(self.finder.rule.finished, Finished::Marker(_) | Finished::Job) {
            return Some(Settled::Stays);
        }
        let asked = match self.keys.template.is_of_the_moment() {
            true => None,
            false => Some(self.keys.render(found, Timestamp::UNIX_EPOCH).ok()?),
        };
        let fingerprint = &found.stamp.fingerprint;
        let (_, time) = self.ledger.holds(&found.path, fingerprint, &self.place, asked.as_deref())?;
        let goes = match &self.afterwards {
            Afterwards::Keep => false,
            Afterwards::Delete | Afterwards::Move(_) => true,
            Afterwards::KeepFor(_) => match self.ages.counts_anew(time) {
                Some(now) => {
                    self.ledger.count_from(&found.path, now);
                    false
                }
                None => self.ages.is_over(time),
            },
        };
        Some(if goes { Settled::Goes } else { Settled::Stays })
    }
}

enum Settled {
    Stays,
    Goes,
}

/// A walk on its way.
struct Tour<'e> {
    eyes: &'e Eyes,
    cause: Cause,
    /// So many open ones, and of each other kind.
    at_most: usize,
    found: Vec<(Found, Cause)>,
    sightings: Sightings,
}

impl Tour<'_> {
    /// Goes from a place on; `beyond` says what to do at open ones that are too many.
    fn go(&mut self, from: Place, beyond: ControlFlow<()>) -> io::Result<Option<Place>> {
        self.eyes.finder.walk(from, &mut |seen| self.visit(seen, beyond))
    }

    fn visit(&mut self, seen: Seen, beyond: ControlFlow<()>) -> ControlFlow<()> {
        let (sightings, cause, at_most) = (&mut self.sightings, self.cause, self.at_most);
        match seen {
            Seen::Product(product) => match self.eyes.settled(&product) {
                // Whoever asks wants to hear of them.
                Some(Settled::Stays) if cause == Cause::Asked && sightings.settled.len() < at_most => {
                    sightings.settled.extend((!product.is_empty()).then_some(product.path));
                }
                Some(Settled::Stays) => {}
                Some(Settled::Goes) if sightings.to_clear.len() < at_most => sightings.to_clear.push(product),
                Some(Settled::Goes) => sightings.more = true,
                None if self.found.len() < at_most => self.found.push((product, cause)),
                None => return beyond,
            },
            Seen::Refused(path, why) => sightings.refused.push((path, why)),
            Seen::Deleting(path) => sightings.deleting.push(path),
            Seen::Unread(path, why) => {
                sightings.incomplete = true;
                sightings.refused.push((path, why));
            }
        }
        ControlFlow::Continue(())
    }

    fn end(mut self, rest: Option<Place>) -> io::Result<Sightings> {
        self.sightings.rest = rest;
        for lot in lots(self.found) {
            self.sightings.open.extend(self.eyes.sight(lot)?);
        }
        Ok(self.sightings)
    }
}

fn lots(mut all: Vec<(Found, Cause)>) -> Vec<Vec<(Found, Cause)>> {
    let mut lots = Vec::new();
    while !all.is_empty() {
        let rest = all.split_off(all.len().min(LOT));
        lots.push(std::mem::replace(&mut all, rest));
    }
    lots
}

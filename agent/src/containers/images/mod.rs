//! Images: what names stand for, where they come from, which are trusted, and when unused ones go.
//!
//! In: names of a Compose file, the configuration, registries and a bucket. Out: images in the engine under these very
//! names. A name is resolved once, to a digest, and pinned: restarts and replicas use that image whatever happens to the
//! tag, until the name is resolved again (`pull_policy`, or an operator's order). What survives a restart: the pins, and
//! which images the agent brought.

/// Archives in a bucket.
mod archive;
/// Unused images, removed.
mod clean_up;
/// Who asks a registry.
mod credentials;
/// Images in their registries.
mod finding;
/// What names stand for.
mod pins;
/// Names, taken apart.
mod reference;
/// What we ask a registry ourselves.
mod registry;
/// Whether an image is signed.
mod signature;
/// Tags that are found by a rule.
mod tag_rule;

pub use credentials::Login;

use super::compose::PullPolicy;
use super::engine::{Engine, EngineError};
use credentials::Credentials;
use globset::{Glob, GlobSet, GlobSetBuilder};
use hostwright_core::config::containers::images::{Images as Settings, Signatures};
use jiff::Timestamp;
use pins::{Pin, Pins};
use reference::Reference;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After a name could not be resolved again, while its image goes on.
const PAUSE: Duration = Duration::from_secs(60);

/// All images of the host.
#[derive(Debug)]
pub struct Images {
    settings: Settings,
    credentials: Credentials,
    /// For archives on their way.
    folder: PathBuf,
    /// Patterns of the tag rules, and of the signatures, in their order.
    rules: Vec<GlobSet>,
    signed: Vec<GlobSet>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pins: Pins,
    /// Names that are to be resolved again whatever their policy says.
    asked: BTreeSet<String>,
    /// Why names could not be resolved again, and when that is tried next.
    kept: BTreeMap<String, Kept>,
    clean_up: clean_up::Record,
}

/// An image that goes on although its name could not be resolved again.
#[derive(Clone, Debug)]
struct Kept {
    why: String,
    not_before: Instant,
}

/// What a name was resolved to.
struct Found {
    image_id: String,
    digest: Option<String>,
    tag: Option<String>,
    source: String,
    signed_by: Option<String>,
}

/// How far bringing an image is, in words.
pub type Tell<'a> = &'a (dyn Fn(String) + Send + Sync);

impl Images {
    /// Reads what is known from before.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(settings: &Settings, folder: &Path) -> anyhow::Result<Self> {
        let state = State {
            pins: Pins::open(folder)?,
            asked: BTreeSet::new(),
            kept: BTreeMap::new(),
            clean_up: clean_up::Record::default(),
        };
        Ok(Self {
            credentials: Credentials::new(settings),
            folder: folder.to_owned(),
            rules: settings.tags.iter().map(|rule| globs(&rule.images)).collect::<Result<_, _>>()?,
            signed: settings.signatures.iter().map(|one| globs(&one.images)).collect::<Result<_, _>>()?,
            settings: settings.clone(),
            state: Mutex::new(state),
        })
    }

    /// Whether a name is to be resolved now, its image being there or not.
    pub fn is_due(&self, name: &str, policy: PullPolicy) -> bool {
        let mut state = self.state();
        if state.kept.get(name).is_some_and(|kept| kept.not_before > Instant::now()) {
            return false;
        }
        let pin = state.pins.get(name);
        let unverified = pin.map_or_else(|| self.must_be_signed(name), |pin| !self.is_trusted(name, pin));
        let is_due = match policy {
            PullPolicy::Never => false,
            PullPolicy::Missing => unverified,
            PullPolicy::Always => unverified || pin.is_none(),
            PullPolicy::Every(pause) => {
                let since = pin.map(|pin| Timestamp::now().duration_since(pin.resolved).unsigned_abs());
                unverified || since.is_none_or(|since| since >= pause)
            }
        };
        if is_due {
            state.asked.insert(name.to_owned());
        }
        state.asked.contains(name)
    }

    /// Tells which version of the Compose file is to run. With another one than before, be it that of an earlier process,
    /// these names are resolved again.
    pub fn deploy(&self, version: &str, names: impl IntoIterator<Item = String>) {
        let is_new = self.state().pins.deploy(version);
        match is_new {
            Ok(true) => self.ask_again(names),
            Ok(false) => {}
            Err(error) => log::warn!("{error}"),
        }
    }

    /// Lets names be resolved again as soon as possible.
    pub fn ask_again(&self, names: impl IntoIterator<Item = String>) {
        let mut state = self.state();
        for name in names {
            state.kept.remove(&name);
            state.asked.insert(name);
        }
    }

    /// Resolves a name, verifies what must be signed, brings the image and pins the name to it. Where that fails and the
    /// image of before is there, it goes on.
    ///
    /// # Errors
    /// A sentence: there is no image to go on with.
    pub async fn bring(&self, engine: &Engine, name: &str, tell: Tell<'_>) -> Result<(), String> {
        let (before, is_asked) = {
            let state = self.state();
            (state.pins.get(name).cloned(), state.asked.contains(name))
        };
        // An image that got lost is brought back as it was; only what is due is resolved again.
        let pinned = before.as_ref().filter(|_| !is_asked).and_then(|pin| pin.digest.clone());
        match self.find(engine, (name, pinned), tell).await {
            Ok(found) => self.pin(name, found),
            Err(why) => {
                let why = format!("cannot pull {name}: {why}");
                if !self.goes_on(engine, name, before.as_ref()).await {
                    return Err(why);
                }
                log::warn!(image = name; "{why}; what is here goes on");
                let kept = Kept { why, not_before: Instant::now() + PAUSE };
                let mut state = self.state();
                state.asked.remove(name);
                state.kept.insert(name.to_owned(), kept);
                Ok(())
            }
        }
    }

    /// Gives names back to the images that they are pinned to, where somebody else has taken or removed them. `images` is what
    /// the engine says that they stand for.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn hold(&self, engine: &Engine, images: &mut BTreeMap<String, String>) -> Result<(), EngineError> {
        let pins: Vec<(String, String)> =
            self.state().pins.all().map(|(name, pin)| (name.clone(), pin.image_id.clone())).collect();
        for (name, id) in pins {
            let Ok(reference) = Reference::parse(&name) else { continue };
            if images.get(&name) == Some(&id) || reference.digest.is_some() {
                continue;
            }
            // Jobs have names that are not among `images`, and so had the file before it was changed.
            let found = engine.image_id(&name).await?;
            if found.as_ref() != Some(&id) {
                if engine.image_id(&id).await?.is_none() {
                    continue;
                }
                let instead = found.as_deref().unwrap_or("no image");
                log::warn!(image = name.as_str(), instead; "{name} stands for {id} again until it is deployed anew; somebody had changed that");
                engine.tag_image(&id, &reference.name(), reference.tag_or_latest()).await?;
            }
            images.insert(name, id);
        }
        Ok(())
    }

    /// Why names could not be resolved again, while their images go on.
    pub fn complaints(&self) -> Vec<String> {
        self.state().kept.values().map(|kept| format!("{}; what is here goes on", kept.why)).collect()
    }

    /// What each name stands for, for the JSON status.
    pub fn details(&self) -> Value {
        let state = self.state();
        let rows = state.pins.all().map(|(name, pin)| {
            let row = json!({
                "image_id": pin.image_id,
                "digest": pin.digest,
                "tag": pin.tag,
                "source": pin.source,
                "signed_by": pin.signed_by,
                "resolved": pin.resolved.to_string(),
                "previous": pin.previous,
                "problem": state.kept.get(name).map(|kept| &kept.why),
            });
            (name.clone(), row)
        });
        json!({"pins": rows.collect::<serde_json::Map<_, _>>(), "clean_up": state.clean_up.details()})
    }

    /// The registry's digest of what a name stands for.
    pub fn digest(&self, name: &str) -> Option<String> {
        self.state().pins.get(name)?.digest.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn must_be_signed(&self, name: &str) -> bool {
        Reference::parse(name).is_ok_and(|reference| self.signatures(&reference).is_some())
    }

    /// The first entry that is about an image.
    fn signatures(&self, reference: &Reference) -> Option<&Signatures> {
        let name = reference.name();
        let position = self.signed.iter().position(|globs| globs.is_match(&name))?;
        self.settings.signatures.get(position)
    }

    /// Whether whoever signed an image is still one of those who must have.
    fn is_trusted(&self, name: &str, pin: &Pin) -> bool {
        let Ok(reference) = Reference::parse(name) else { return false };
        let signer = pin.signed_by.as_ref();
        self.signatures(&reference)
            .is_none_or(|settings| signer.is_some_and(|signer| signature::names(settings).contains(signer)))
    }

    fn pin(&self, name: &str, found: Found) -> Result<(), String> {
        let digest = found.digest.as_deref().unwrap_or(&found.image_id);
        log::info!(image = name, digest; "{name} stands for {digest}, from {}", found.source);
        let pin = Pin {
            image_id: found.image_id,
            digest: found.digest,
            tag: found.tag,
            source: found.source,
            signed_by: found.signed_by,
            resolved: Timestamp::now(),
            previous: Vec::new(),
        };
        let mut state = self.state();
        state.asked.remove(name);
        state.kept.remove(name);
        let mut pin = pin;
        if let Some(before) = state.pins.get(name).filter(|before| before.image_id == pin.image_id) {
            // An image that was brought back still has its tag.
            pin.tag = pin.tag.or_else(|| before.tag.clone());
        }
        state.pins.set(name, pin).map_err(|error| error.to_string())
    }

    /// Whether there is an image to go on with: one that was good before, or is simply there where nobody asks for
    /// signatures.
    async fn goes_on(&self, engine: &Engine, name: &str, before: Option<&Pin>) -> bool {
        let what = before.map_or(name, |pin| &pin.image_id);
        let is_here = engine.image_id(what).await.is_ok_and(|id| id.is_some());
        is_here && (!self.must_be_signed(name) || before.is_some_and(|pin| pin.signed_by.is_some()))
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        globs.add(Glob::new(pattern)?);
    }
    globs.build()
}

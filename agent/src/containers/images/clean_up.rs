//! Which images go: first those that nobody has used for long, and when the disk is nearly full the oldest others.

use super::pins::{Brought, Look};
use super::reference::Reference;
use super::{Images, Timestamp};
use crate::containers::engine::{Engine, EngineError, Listed};
use hostwright_core::config::containers::images::CleanUp;
use hostwright_duty::measures::Measures;
use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Even on a full disk an image that was brought a moment ago is not taken away before its container starts. As kubelet.
const TOO_YOUNG: Duration = Duration::from_secs(120);

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Record {
    next: Option<Instant>,
    last: Option<(Timestamp, usize, u64)>,
    images: u64,
    bytes: u64,
}

/// What the choice is made from.
#[derive(Debug)]
struct Choice<'a> {
    rule: &'a CleanUp,
    listed: &'a [Listed],
    brought: &'a BTreeMap<String, Brought>,
    /// Ids that must stay.
    kept: &'a BTreeSet<String>,
    now: Timestamp,
    /// Bytes that are to become free, where the disk is nearly full.
    needed: u64,
}

impl Record {
    /// For the JSON status.
    pub fn details(&self) -> Value {
        let last = self.last.as_ref();
        json!({
            "images": self.images,
            "bytes": self.bytes,
            "last": last.map(|(at, images, bytes)| json!({"at": at.to_string(), "images": images, "bytes": bytes})),
        })
    }
}

impl Images {
    /// For metrics.
    pub fn measure(&self, measures: &mut Measures) {
        let state = self.state();
        let what = ("images_removed", "Unused images that were removed since the start.");
        measures.counter(what, &[], state.clean_up.images);
        let what = ("images_freed_bytes", "Bytes of unused images that were removed since the start.");
        measures.counter(what, &[], state.clean_up.bytes);
    }

    /// Removes unused images, if it is time for a look. `wanted` are the names in the Compose file; `kept` are ids that
    /// somebody may go back to.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn clean_up(
        &self,
        engine: &Engine,
        wanted: &BTreeSet<String>,
        kept: BTreeSet<String>,
    ) -> Result<(), EngineError> {
        let Some(rule) = &self.settings.clean_up else { return Ok(()) };
        let now = Instant::now();
        {
            let mut state = self.state();
            if state.clean_up.next.is_some_and(|next| next > now) {
                return Ok(());
            }
            state.clean_up.next = Some(now + rule.every);
        }
        let (listed, used) = (engine.list_images().await?, engine.images_in_use().await?);
        let needed = bytes_needed(engine, rule).await?;
        let chosen = {
            let mut state = self.state();
            let present = listed.iter().map(|image| image.id.clone()).collect();
            let look = Look { present: &present, used: &used, wanted, now: Timestamp::now() };
            if let Err(error) = state.pins.looked(&look) {
                log::warn!("{error}");
            }
            let mut kept: BTreeSet<String> = kept.into_iter().chain(used.iter().cloned()).collect();
            for (_, pin) in state.pins.all() {
                kept.insert(pin.image_id.clone());
                // What ran before is the way back.
                kept.extend(pin.previous.first().cloned());
            }
            // Images in the file under whatever name are wanted, those too that somebody else brought.
            let names: BTreeSet<String> = wanted.iter().filter_map(|name| full_name(name)).collect();
            let is_wanted =
                |image: &&Listed| image.tags.iter().filter_map(|tag| full_name(tag)).any(|tag| names.contains(&tag));
            kept.extend(listed.iter().filter(is_wanted).map(|image| image.id.clone()));
            let brought = state.pins.brought();
            Choice { rule, listed: &listed, brought, kept: &kept, now: look.now, needed }.make()
        };
        self.remove(engine, &chosen).await;
        Ok(())
    }

    async fn remove(&self, engine: &Engine, chosen: &[Listed]) {
        let (mut images, mut bytes) = (0, 0);
        for image in chosen {
            // By its names first: an id with several of them is refused.
            let names = image.tags.iter().chain(image.digests.iter());
            let mut result = Ok(());
            for name in names.chain([&image.id]) {
                result = engine.remove_image(name).await;
                if result.is_err() {
                    break;
                }
            }
            let name = image.tags.first().or(image.digests.first()).unwrap_or(&image.id);
            match result {
                Ok(()) => {
                    log::info!(image = name.as_str(); "removed {name}, which nobody used: {} MB", image.size / 1_000_000);
                    images += 1;
                    bytes += image.size;
                }
                Err(error) => log::warn!(image = name.as_str(); "cannot remove {name}, which nobody uses: {error}"),
            }
        }
        if images > 0 {
            let mut state = self.state();
            let record = &mut state.clean_up;
            record.images += images as u64;
            record.bytes += bytes;
            record.last = Some((Timestamp::now(), images, bytes));
        }
    }
}

/// The engine lists `nginx:latest` where a file says `nginx`; Podman lists `nginx@sha256:…` as if that were a tag.
fn full_name(name: &str) -> Option<String> {
    let reference = Reference::parse(name).ok()?;
    Some(match &reference.digest {
        Some(digest) => reference.at(digest),
        None => format!("{}:{}", reference.name(), reference.tag_or_latest()),
    })
}

/// How much must become free so that the engine's disk is below `low`, if it is above `high`.
async fn bytes_needed(engine: &Engine, rule: &CleanUp) -> Result<u64, EngineError> {
    let Some(folder) = engine.root_folder().await? else { return Ok(0) };
    // The engine may be in another place, or its folder hidden: then its age alone decides.
    let Ok(disk) = statvfs(folder.as_str()) else { return Ok(0) };
    let unit = disk.fragment_size();
    let (all, free) = (disk.blocks() * unit, disk.blocks_available() * unit);
    Ok(above(all, all.saturating_sub(free), rule))
}

fn above(all: u64, taken: u64, rule: &CleanUp) -> u64 {
    let share = |percent: u64| u64::try_from(u128::from(all) * u128::from(percent) / 100).unwrap_or(u64::MAX);
    if taken <= share(rule.high) { 0 } else { taken.saturating_sub(share(rule.low)) }
}

impl Choice<'_> {
    fn make(&self) -> Vec<Listed> {
        let mut candidates: Vec<(Duration, &Listed)> = self
            .listed
            .iter()
            .filter(|image| !self.kept.contains(&image.id))
            .filter_map(|image| Some((self.unused_for(image)?, image)))
            .collect();
        // The longest unused first.
        candidates.sort_by(|(a, _), (b, _)| b.cmp(a));
        let mut freed = 0;
        let mut chosen = Vec::new();
        for (unused, image) in candidates {
            let is_pressing = freed < self.needed && unused >= TOO_YOUNG;
            if unused >= self.rule.after || is_pressing {
                freed += image.size;
                chosen.push(image.clone());
            }
        }
        chosen
    }

    /// How long nobody has used an image; nothing for one that is none of our business.
    fn unused_for(&self, image: &Listed) -> Option<Duration> {
        let since = match self.brought.get(&image.id) {
            Some(brought) => brought.used,
            None if self.rule.all => Timestamp::from_second(image.created).ok()?,
            None => return None,
        };
        Some(self.now.duration_since(since).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, above, full_name};
    use crate::containers::engine::Listed;
    use crate::containers::images::pins::Brought;
    use hostwright_core::config::containers::images::CleanUp;
    use jiff::{SignedDuration, Timestamp};
    use std::collections::BTreeSet;

    /// Images of 10 bytes; the number is for how many hours nobody has used it, negative for one that we did not bring.
    fn chosen(hours: &[i64], needed: u64, rule: &CleanUp, kept: &[usize]) -> String {
        let now = Timestamp::now();
        let ago = |hours: i64| now - SignedDuration::from_hours(hours.abs());
        let id = |at: usize| format!("{at}");
        let listed: Vec<Listed> = hours
            .iter()
            .enumerate()
            .map(|(at, hours)| Listed {
                id: id(at),
                tags: Vec::new(),
                digests: Vec::new(),
                size: 10,
                created: ago(*hours).as_second(),
            })
            .collect();
        let ours = hours.iter().enumerate().filter(|(_, hours)| **hours >= 0);
        let brought = ours.map(|(at, hours)| (id(at), Brought { name: String::new(), used: ago(*hours) })).collect();
        let kept: BTreeSet<String> = kept.iter().map(|at| id(*at)).collect();
        let choice = Choice { rule, listed: &listed, brought: &brought, kept: &kept, now, needed };
        choice.make().into_iter().map(|image| image.id).collect()
    }

    #[test]
    fn what_was_unused_for_long_goes_and_what_is_needed_stays() {
        let rule = CleanUp::default();
        assert_eq!(chosen(&[1, 24 * 8, 24 * 9, -24 * 100], 0, &rule, &[]), "21");
        assert_eq!(chosen(&[24 * 8, 24 * 9], 0, &rule, &[0]), "1");
        let all = CleanUp { all: true, ..rule };
        assert_eq!(chosen(&[1, -24 * 100], 0, &all, &[]), "1");
    }

    #[test]
    fn a_full_disk_takes_the_oldest_until_there_is_room_but_none_of_a_moment_ago() {
        let rule = CleanUp::default();
        assert_eq!(chosen(&[1, 3, 2, 0], 15, &rule, &[]), "12");
        assert_eq!(chosen(&[1, 3, 2, 0], 1000, &rule, &[1]), "20");
    }

    #[test]
    fn images_of_one_repository_are_told_by_their_digests() {
        let [one, two] = ["1", "2"].map(|digit| format!("r.example/a@sha256:{}", digit.repeat(64)));
        let tagged = one.replace('@', ":1.2@");
        assert_eq!(full_name(&one), full_name(&tagged));
        assert!(full_name(&one) != full_name(&two) && full_name(&one) != full_name("r.example/a"));
        assert_eq!(full_name("r.example/a"), full_name("r.example/a:latest"));
    }

    #[test]
    fn the_disk_is_relieved_from_high_down_to_low() {
        let rule = CleanUp::default();
        assert_eq!((above(1000, 850, &rule), above(1000, 851, &rule), above(0, 0, &rule)), (0, 51, 0));
    }
}

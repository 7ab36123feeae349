//! `/proc/mdstat`: each software RAID in two to four lines.
//!
//! ```text
//! md0 : active raid5 sdd1[4] sdc1[2] sdb1[1](F) sda1[0]
//!       5860147200 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/3] [U_UU]
//!       [==>..................]  recovery = 12.6% (246784/1953382400) finish=127.5min speed=33440K/sec
//!       bitmap: 2/15 pages [8KB], 65536KB chunk
//! ```

use super::kernel_file::Text;
use super::{CollectError, number, words};
use memchr::memmem::find;

/// What an array does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// It serves.
    Active,
    /// It is stopped, or only holds other arrays.
    Inactive,
    /// A disk is rebuilt.
    Recovering,
    /// Disks are made equal after a crash.
    Resync,
    /// Disks are compared.
    Check,
    /// Something that has no state of its own in the metrics, such as a reshape.
    #[default]
    Other,
}

impl Activity {
    /// Those that the metrics name.
    pub const TOLD: [Self; 5] = [Self::Active, Self::Inactive, Self::Recovering, Self::Resync, Self::Check];
}

/// An array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Array {
    pub activity: Activity,
    pub disks_active: u64,
    pub disks_failed: u64,
    pub disks_spare: u64,
    pub disks_required: u64,
    pub blocks: u64,
    pub blocks_synced: u64,
}

/// Gives each array with its name.
pub fn parse(text: Text<'_>, mut give: impl FnMut(&[u8], Array)) -> Result<(), CollectError> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_array = !line.trim_ascii().is_empty()
            && !line.starts_with(b" ")
            && !line.starts_with(b"unused")
            && !line.starts_with(b"Personalities");
        if !is_array {
            continue;
        }
        let malformed = || text.malformed("an array with its blocks and disks", line);
        // The lines below are indented, and those on top of them tell the rest.
        let below = [(); 3].map(|()| lines.next_if(|line| line.starts_with(b" ")).unwrap_or_default());
        let mut words = words(line);
        let (Some(name), Some(b":"), Some(state)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed());
        };
        // The kernel ends with what is unused: a text that ends with an array is cut off.
        if below[0].is_empty() && lines.peek().is_none() {
            return Err(malformed());
        }
        let mut array = disks_and_blocks(line, below[0]).ok_or_else(malformed)?;
        array.activity = match state {
            b"active" => Activity::Active,
            b"inactive" => Activity::Inactive,
            _ => Activity::Other,
        };
        // A bitmap stands on either side of the line on progress.
        let progress = if has(below[1], "bitmap") { below[2] } else { below[1] };
        progressing(&mut array, progress).ok_or_else(malformed)?;
        give(name, array);
    }
    Ok(())
}

fn has(line: &[u8], word: &str) -> bool {
    find(line, word.as_bytes()).is_some()
}

fn count(line: &[u8], word: &str) -> u64 {
    memchr::memmem::find_iter(line, word.as_bytes()).count() as u64
}

fn disks_and_blocks(device: &[u8], status: &[u8]) -> Option<Array> {
    // Without any disk there is no line of blocks.
    let blocks = words(status).next().map_or(Some(0), number)?;
    let (disks_required, disks_active) = if has(device, "raid0") || has(device, "linear") {
        // Without redundancy every disk is required; each has its number in brackets.
        let disks = count(device, "[");
        (disks, disks)
    } else if has(device, "inactive") || blocks == 0 {
        (0, 0)
    } else {
        required_and_active(status)?
    };
    Some(Array {
        disks_active,
        disks_required,
        disks_failed: count(device, "(F)"),
        disks_spare: count(device, "(S)"),
        blocks,
        blocks_synced: blocks,
        activity: Activity::Other,
    })
}

/// `[4/3] [U_UU]` → 4 and 3.
fn required_and_active(status: &[u8]) -> Option<(u64, u64)> {
    let mut last = None;
    let mut words = words(status).peekable();
    while let Some(word) = words.next() {
        let counts = word.strip_prefix(b"[").and_then(|word| word.strip_suffix(b"]"));
        let Some((required, active)) = counts.and_then(fraction) else { continue };
        let disks = words.peek().and_then(|next| next.strip_prefix(b"[")?.strip_suffix(b"]"));
        if disks.is_some_and(|disks| !disks.is_empty() && disks.iter().all(|disk| b"U_".contains(disk))) {
            last = Some((required, active));
        }
    }
    last
}

fn fraction(text: &[u8]) -> Option<(u64, u64)> {
    let slash = memchr::memchr(b'/', text)?;
    Some((number(&text[..slash])?, number(&text[slash + 1..])?))
}

/// What is going on, if anything, and how far it is.
fn progressing(array: &mut Array, line: &[u8]) -> Option<()> {
    array.activity = if has(line, "recovery") {
        Activity::Recovering
    } else if has(line, "reshape") {
        Activity::Other
    } else if has(line, "check") {
        Activity::Check
    } else if has(line, "resync") {
        Activity::Resync
    } else {
        return Some(());
    };
    // It waits for another array, for the first write, or is done by another host of a cluster.
    if has(line, "DELAYED") || has(line, "PENDING") || has(line, "REMOTE") {
        array.blocks_synced = 0;
        return Some(());
    }
    let in_parentheses = |word: &'_ [u8]| fraction(word.strip_prefix(b"(")?.strip_suffix(b")")?);
    array.blocks_synced = words(line).find_map(in_parentheses)?.0;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{Activity, Array, Text, parse};
    use std::path::Path;

    fn arrays(text: &str) -> Result<Vec<(String, Array)>, String> {
        let mut arrays = Vec::new();
        let text = Text { path: Path::new("mdstat"), bytes: text.as_bytes() };
        parse(text, |name, array| arrays.push((String::from_utf8_lossy(name).into_owned(), array)))
            .map_err(|error| error.to_string())?;
        Ok(arrays)
    }

    fn one(device: &str, below: &str) -> Array {
        let mut arrays = arrays(&format!("Personalities : [raid1]\n{device}\n{below}\n\nunused devices: <none>\n"));
        arrays.as_mut().expect("understood").remove(0).1
    }

    const RAID5: &str = "md0 : active raid5 sdd1[4] sdc1[2] sdb1[1](F) sda1[0]";
    const STATUS: &str = "      5860147200 blocks super 1.2 level 5, 512k chunk, algorithm 2 [4/3] [U_UU]";

    #[test]
    fn a_degraded_array_recovers_and_its_bitmap_may_stand_above_or_below() {
        let progress = "      [==>......]  recovery = 12.6% (246784/1953382400) finish=127.5min speed=33440K/sec";
        let bitmap = "      bitmap: 2/15 pages [8KB], 65536KB chunk";
        let want = Array {
            activity: Activity::Recovering,
            disks_active: 3,
            disks_failed: 1,
            disks_spare: 0,
            disks_required: 4,
            blocks: 5_860_147_200,
            blocks_synced: 246_784,
        };
        assert_eq!(one(RAID5, &format!("{STATUS}\n{progress}\n{bitmap}")), want);
        assert_eq!(one(RAID5, &format!("{STATUS}\n{bitmap}\n{progress}")), want);
    }

    #[test]
    fn work_that_waits_has_synced_nothing() {
        for (line, activity) in [
            ("      \tresync=DELAYED", Activity::Resync),
            ("      \tresync=PENDING", Activity::Resync),
            ("      \trecovery=DELAYED", Activity::Recovering),
            ("      \tcheck=DELAYED", Activity::Check),
            ("      \treshape=DELAYED", Activity::Other),
            ("      \tresync=REMOTE", Activity::Resync),
        ] {
            let array = one(RAID5, &format!("{STATUS}\n{line}"));
            assert_eq!((array.activity, array.blocks_synced), (activity, 0), "{line}");
        }
    }

    #[test]
    fn arrays_without_redundancy_or_that_are_stopped_have_no_count_of_disks_in_their_status() {
        let striped = one("md1 : active raid0 sdb[1] sda[0]", "      312319552 blocks 64k chunks");
        assert_eq!((striped.disks_required, striped.disks_active, striped.blocks), (2, 2, 312_319_552));
        let container = one("md127 : inactive sdb[1](S) sda[0](S)", "      6306 blocks super external:imsm");
        assert_eq!((container.activity, container.disks_required, container.disks_spare), (Activity::Inactive, 0, 2));
        let member =
            one("md126 : active raid1 sda[1] sdb[0]", "      1855867904 blocks super external:/md127/0 [2/2] [UU]");
        assert_eq!((member.activity, member.disks_required), (Activity::Active, 2));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let of_blocks = "md0 : active raid1 sda[0]\n      many blocks [1/1] [U]\n";
        for text in
            ["md0\n", of_blocks, "noise and more of it\nunused devices: <none>\n", "md0 : active raid1 sda[0]\n"]
        {
            assert!(arrays(text).is_err(), "{text}");
        }
        assert!(arrays(&format!("{RAID5}\n{STATUS}\n      [=>] recovery = much\n")).is_err());
        assert_eq!(arrays("").map(|arrays| arrays.len()), Ok(0));
    }
}

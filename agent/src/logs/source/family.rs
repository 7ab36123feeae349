use std::path::{Path, PathBuf};

/// What is being written under this ending is complete when it loses it. Sources leave such names out.
pub const UNFINISHED: &str = ".hostwright-tmp";

/// The name that a rotated file had while it was written, as far as its name tells: a date anywhere (`app-20261120.log`,
/// `log.json.2026-11-20`), a number at the end (`app.log.1`), or what those call it that keep one (`app.log.old`,
/// `app.old.log`). Files of one family are generations of one log.
pub fn family(name: &str) -> String {
    if label(name).is_some() || name == PREVIOUS {
        return CURRENT.to_owned();
    }
    let Some((start, end)) = stamp(name) else { return without_former(name).unwrap_or_else(|| name.to_owned()) };
    let (before, after) = (&name[..start], &name[end..]);
    // `app-20261120.log`: one of the separators around the date belongs to the name.
    match (before.is_empty(), after.is_empty()) {
        (true, _) => after.trim_start_matches(is_separator).to_owned(),
        (_, true) => before.trim_end_matches(is_separator).to_owned(),
        _ => format!("{}{after}", before.trim_end_matches(is_separator)),
    }
}

/// What svlogd, multilog and s6-log write into; they rename it to a label of TAI64N with `.s`, by way of `.u` if a program
/// is to process it, whose output is `.t` until it is complete.
const CURRENT: &str = "current";
/// What s6-log calls it meanwhile, and what it calls the output.
const PREVIOUS: &str = "previous";
const PROCESSED: &str = "processed";

/// What programs call the one generation that they keep.
const FORMER: [&str; 3] = ["old", "prev", "previous"];

/// Whether it is the name of the one generation that a program keeps.
pub fn is_former(name: &str) -> bool {
    stamp(name).is_none() && without_former(name).is_some()
}

fn without_former(name: &str) -> Option<String> {
    let (before, last) = name.rsplit_once('.')?;
    let is_former = |word: &str| FORMER.contains(&word);
    if is_former(last) {
        return (!before.is_empty()).then(|| before.to_owned());
    }
    let (log, former) = before.rsplit_once('.')?;
    (is_former(former) && !log.is_empty()).then(|| format!("{log}.{last}"))
}

/// Whether a rotated file was written after another of the same log, as their days or numbers tell. None if they do not.
pub fn is_later(name: &str, other: &str) -> Option<bool> {
    match (day(name), day(other)) {
        (Some(day), Some(other)) => Some(day > other),
        (None, None) => match (number(name), number(other)) {
            (0, _) | (_, 0) => None,
            // The higher, the older, where they follow the log's name.
            (number, other) => is_number_at_end(name).then_some(number < other),
        },
        _ => None,
    }
}

fn is_number_at_end(name: &str) -> bool {
    let name = plain_name(name);
    stamp(name).is_some_and(|(start, end)| end == name.len() && name[start..].bytes().all(|byte| byte.is_ascii_digit()))
}

/// The label and the ending.
fn label(name: &str) -> Option<(&str, &str)> {
    let (label, ending) = name.strip_prefix('@')?.split_at_checked(24)?;
    let is_label = label.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_label && matches!(ending, ".s" | ".u" | ".t")).then_some((label, ending))
}

/// What tells the order of the generations of these programs: the labels, and after all of them the one that has none yet.
pub fn order_of_labels(name: &str) -> Option<&str> {
    label(name).map(|(label, _)| label).or((name == PREVIOUS).then_some("~"))
}

/// Whether it is the name of a generation of these programs that is as it stays.
pub fn is_complete_label(name: &str) -> bool {
    label(name).is_some_and(|(_, ending)| ending == ".s")
}

/// Whether it is what a program makes of a generation, and has not finished.
pub fn is_unfinished(name: &str) -> bool {
    name == PROCESSED || label(name).is_some_and(|(_, ending)| ending == ".t")
}

/// The name of what a program makes of a generation of this name.
pub fn processed(name: &str) -> Option<String> {
    label(name).filter(|(_, ending)| *ending == ".u").map(|(label, _)| format!("@{label}.s"))
}

/// The name of what such a generation was made of.
pub fn unprocessed(name: &str) -> Option<String> {
    label(name).filter(|(_, ending)| *ending == ".s").map(|(label, _)| format!("@{label}.u"))
}

/// The path that a file had while it was written, as far as its name tells.
pub fn family_path(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| family(plain_name(&name.to_string_lossy()))).unwrap_or_default();
    path.with_file_name(name)
}

/// The same without all of its dates and numbers: `app.log` of `app-20261120.log.1.gz`.
pub fn log_path(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    loop {
        let log = family_path(&path);
        if log == path {
            return log;
        }
        path = log;
    }
}

/// The number of a numbered generation: the higher, the older. Times of files do not tell when several were rotated within
/// one tick of the clock.
pub fn number(name: &str) -> u32 {
    let name = plain_name(name);
    let is_dated =
        stamp(name).is_some_and(|(start, end)| name[start..end].bytes().filter(u8::is_ascii_digit).count() >= 8);
    let mut words = name.rsplit(is_separator).filter(|word| word.len() < 6);
    if is_dated { 0 } else { words.find_map(|word| word.parse().ok()).unwrap_or(0) }
}

/// Whether the content is compressed, as the name tells.
pub fn is_compressed(name: &str) -> bool {
    plain_name(name) != name
}

/// The name without the ending that compression gave it.
pub fn plain_name(name: &str) -> &str {
    const ENDINGS: [&str; 7] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".zip", ".Z"];
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '-' | '_')
}

/// Where the last date, or the number at the end, stands.
fn stamp(name: &str) -> Option<(usize, usize)> {
    let bytes = name.as_bytes();
    let mut end = bytes.len();
    while end > 0 {
        if !bytes[end - 1].is_ascii_digit() {
            end -= 1;
            continue;
        }
        let in_stamp = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'T');
        let mut start = end - bytes[..end].iter().rev().take_while(|byte| in_stamp(byte)).count();
        while !bytes[start].is_ascii_digit() {
            start += 1;
        }
        let digits = bytes[start..end].iter().filter(|byte| byte.is_ascii_digit()).count();
        let number_at_end = end == bytes.len() && start > 0 && bytes[start - 1] == b'.';
        if number_at_end || (digits >= 8 && (stands_apart(bytes, start, end) || is_date(&bytes[start..end]))) {
            return Some((start, end));
        }
        end = start;
    }
    None
}

/// Whether neither a letter nor a digit is beside it.
fn stands_apart(name: &[u8], start: usize, end: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    !is_word(start.checked_sub(1).and_then(|before| name.get(before))) && !is_word(name.get(end))
}

/// The day that a name tells, and the minute and second if it does (`app-2026-11-20.log`, `2026-11-20_10-11`), as a number
/// that grows with it. Where what follows the day may count generations, it is left out.
pub fn day(name: &str) -> Option<u64> {
    let name = plain_name(name);
    let (start, end) = stamp(name)?;
    let stamp = &name.as_bytes()[start..end];
    if stamp.iter().filter(|byte| byte.is_ascii_digit()).count() < 8 || !is_date(stamp) {
        return None;
    }
    let mut digits = stamp.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    let number =
        |digits: &[u8]| digits.iter().filter(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + u64::from(b - b'0'));
    let behind = digits.nth(7)?.0 + 1;
    let (day, rest) = stamp.split_at(behind);
    // Hour and minute stand apart, or all three together.
    let mut parts = rest.split(|byte| !byte.is_ascii_digit()).filter(|part| !part.is_empty());
    let time: Vec<u64> = parts.by_ref().take_while(|part| part.len() == 2).map(number).collect();
    let at = |hour, minute, second| hour * 10_000 + minute * 100 + second;
    let together =
        rest.split(|byte| !byte.is_ascii_digit()).find(|part| !part.is_empty()).filter(|part| part.len() == 6);
    let time = match (together.map(number), &time[..]) {
        (Some(time), _) if time / 10_000 < 24 && time / 100 % 100 < 60 && time % 100 < 60 => time,
        // That counts something.
        (Some(_), _) => return None,
        (None, &[hour @ 0..24, minute @ 0..60]) => at(hour, minute, 0),
        (None, &[hour @ 0..24, minute @ 0..60, second @ 0..61]) => at(hour, minute, second),
        _ => 0,
    };
    Some(number(day) * 1_000_000 + time)
}

/// Whether it begins with a day: other digits among letters are part of an id, such as a container's.
fn is_date(stamp: &[u8]) -> bool {
    let digits: Vec<u8> = stamp.iter().filter(|byte| byte.is_ascii_digit()).copied().collect();
    matches!(digits[..], [b'1', b'9', ..] | [b'2', b'0', ..])
        && matches!(digits[4..6], [b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2'])
        && matches!(digits[6..8], [b'0', b'1'..=b'9'] | [b'1' | b'2', _] | [b'3', b'0' | b'1'])
}

#[cfg(test)]
mod tests {
    use super::{day, family, family_path, is_later, log_path, number, order_of_labels};
    use std::path::Path;

    #[test]
    fn a_day_in_a_name_tells_its_place() {
        for (name, expected) in [
            ("app-2026-11-20.log", Some(20_261_120_000_000)),
            ("app.log-20261120.gz", Some(20_261_120_000_000)),
            ("app.log.2026-11-20_10-11", Some(20_261_120_101_100)),
            ("app.log.2026-11-20T10_11_12.gz", Some(20_261_120_101_112)),
            ("app.2026-11-20.3.log", Some(20_261_120_000_000)),
            ("app.log.2026-11-20-0065", Some(20_261_120_000_000)),
            ("app.log.2026-11-20-03", Some(20_261_120_000_000)),
            ("0.log.20261120-101112.gz", Some(20_261_120_101_112)),
            ("app.20261120101112.log", Some(20_261_120_101_112)),
            ("app.log.20261120-000160", None),
            ("app-11-20-2026-3.log", None),
            ("app.log.1", None),
            ("app.1795100000.log", None),
            ("app.log", None),
        ] {
            assert_eq!(day(name), expected, "{name}");
        }
        let mut names = ["previous", "@400000006b025333009b7abd.u", "@400000006b025333009b7abc.s"];
        names.sort_by_key(|name| order_of_labels(name));
        assert_eq!(names, ["@400000006b025333009b7abc.s", "@400000006b025333009b7abd.u", "previous"]);
    }

    #[test]
    fn generations_of_one_log_have_one_family() {
        for (name, expected) in [
            ("log.json", "log.json"),
            ("log.json.2026-11-20", "log.json"),
            ("log.json-20261120", "log.json"),
            ("log.json.2026-11-20T10_11_12", "log.json"),
            ("log.json.1", "log.json"),
            ("app-2026-11-20.log", "app.log"),
            ("app.20261120.1.log", "app.log"),
            ("2026-11-20.log", "log"),
            ("app20261120.log", "app.log"),
            ("0000000001.ndjson", "ndjson"),
            ("app.log.old", "app.log"),
            ("main.old.log", "main.log"),
            ("Xorg.0.log.old", "Xorg.0.log"),
            ("app.log.prev", "app.log"),
            ("5f1234567890ab-json.log.1", "5f1234567890ab-json.log"),
            ("@400000006b025333009b7abc.s", "current"),
            ("@400000006b025333009b7abc.u", "current"),
            ("previous", "current"),
        ] {
            assert_eq!(family(name), expected, "{name}");
        }
    }

    #[test]
    fn the_number_of_a_generation_is_not_a_date() {
        for (name, expected) in [
            ("a.log.2", 2),
            ("a.log.12.gz", 12),
            ("a.log", 0),
            ("a.log.20261120", 0),
            ("a.2026-11-20.3.log", 0),
            ("a.3.log.gz", 3),
            ("a", 0),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
    }

    #[test]
    fn days_and_numbers_tell_which_generation_is_later() {
        for (name, other, expected) in [
            ("a.log.1", "a.log.2", Some(true)),
            ("a.log.10.gz", "a.log.9", Some(false)),
            ("a.log-20261122", "a.log-20261121.gz", Some(true)),
            // Some count upwards there.
            ("a.1.log", "a.2.log", None),
            ("a.log-20261122", "a.log.1", None),
            ("a.log.old", "a.log.1", None),
            ("a.log", "a.log.1", None),
        ] {
            assert_eq!(is_later(name, other), expected, "{name} {other}");
        }
    }

    #[test]
    fn files_that_are_written_side_by_side_are_no_generations() {
        for name in [
            "@home.s",
            "@400000006b025333009b7abc",
            "worker-1.log",
            "web01.log",
            "app-old.log",
            "old.log",
            ".old",
            "old",
            "app.older",
            "v2.json",
            "a",
            "",
            "1",
            "1.2.3.log",
            "5f1234567890ab-json.log",
        ] {
            assert_eq!(family(name), name);
        }
    }

    #[test]
    fn a_compressed_generation_is_of_its_log() {
        assert_eq!(family_path(Path::new("/a/log.json.2026-11-20.gz")), Path::new("/a/log.json"));
        assert_eq!(family_path(Path::new("/a/log.json")), Path::new("/a/log.json"));
        assert_eq!(log_path(Path::new("/a/app-2026-11-20.log.2.gz")), Path::new("/a/app.log"));
        assert_eq!(log_path(Path::new("/a/app.log")), Path::new("/a/app.log"));
    }
}

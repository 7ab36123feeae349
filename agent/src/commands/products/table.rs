use hostwright_core::terminal::name;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// The width of a progress bar, in characters.
const BAR: u64 = 20;

/// Product folders as a table for people, each with what is under way and what is wrong below it.
pub(super) fn table(details: &Value) -> String {
    let mut text = format!(
        "{:<20} {:>8} {:>8} {:>8} {:>8} {:>8}  {}\n",
        "PRODUCT", "UPLOADED", "WAITING", "SENDING", "OPEN", "FAILED", "FOLDER → BUCKET"
    );
    for (name, one) in details.as_object().into_iter().flatten() {
        let open = number(&one["unfinished"]) + number(&one["in_use"]["count"]);
        let _ = writeln!(
            text,
            "{name:<20} {:>8} {:>8} {:>8} {open:>8} {:>8}  {} → {}",
            number(&one["uploaded"]),
            number(&one["waiting"]),
            one["uploading"].as_array().map_or(0, Vec::len),
            number(&one["failed"]["count"]) + number(&one["refused"]["count"]),
            words(&one["folder"]),
            words(&one["bucket"]),
        );
        for why in one["troubles"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  trouble: {}", words(why));
        }
        for sending in one["uploading"].as_array().into_iter().flatten() {
            let (sent, size) = (number(&sending["sent"]), number(&sending["size"]));
            let _ = writeln!(text, "  {} {} → {}", bar(sent, size), shown(&sending["path"]), shown(&sending["key"]));
        }
        for (what, key) in [("failed", "failed"), ("not taken", "refused"), ("in use", "in_use"), ("waits", "held")] {
            samples(&mut text, what, &one[key]);
        }
        if let Some(last) = one["last"].as_object() {
            let _ = writeln!(
                text,
                "  last: {} → {} at {}",
                shown(&last["path"]),
                shown(&last["key"]),
                words(&last["time"])
            );
        }
    }
    text
}

/// What is fetched, each with what is wrong below it.
pub(super) fn fetched(entries: &serde_json::Map<String, Value>) -> String {
    let mut text = format!("{:>8} {:>8}  {}\n", "FILES", "FETCHED", "BUCKET → FILE OR FOLDER");
    for one in entries.values() {
        let (files, fetched) = (number(&one["files"]), number(&one["fetched"]));
        let (bucket, what, to) = (words(&one["bucket"]), shown(&one["what"]), shown(&one["to"]));
        let _ = writeln!(text, "{files:>8} {fetched:>8}  {bucket}/{what} → {to}");
        for why in one["failed"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  failed: {}", words(why));
        }
    }
    text
}

fn samples(text: &mut String, what: &str, sample: &Value) {
    let examples = sample["examples"].as_array().map_or(&[][..], Vec::as_slice);
    for example in examples {
        let _ = writeln!(text, "  {what}: {}: {}", shown(&example["path"]), words(&example["why"]));
    }
    let more = number(&sample["count"]).saturating_sub(examples.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  {what}: {more} more");
    }
}

/// `[#####---------------]  25% of 40.0 MB`
fn bar(sent: u64, size: u64) -> String {
    let part = |of: u64| of.saturating_mul(sent.min(size)).checked_div(size).unwrap_or(of);
    let full = usize::try_from(part(BAR)).unwrap_or_default();
    let empty = usize::try_from(BAR).unwrap_or_default() - full;
    format!("[{}{}] {:>3}% of {}", "#".repeat(full), "-".repeat(empty), part(100), bytes(size))
}

fn bytes(number: u64) -> String {
    let mut shown = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if shown < 1000.0 {
            return if unit == "B" { format!("{number} B") } else { format!("{shown:.1} {unit}") };
        }
        shown /= 1000.0;
    }
    format!("{shown:.1} TB")
}

/// For what a product waits that was pushed.
pub(super) fn held(one: &Value) -> String {
    format!("{}: {}: waiting: {}", words(&one["product"]), shown(&one["path"]), words(&one["held"]))
}

/// What became of a product that was pushed.
pub(super) fn pushed(one: &Value) -> String {
    let (product, path) = (words(&one["product"]), shown(&one["path"]));
    let state = words(&one["state"]);
    match one["why"].as_str() {
        Some(why) => format!("{product}: {path}: {state}: {why}"),
        None => format!("{product}: {path}: {state} as {}", shown(&one["key"])),
    }
}

/// What came of a verification.
pub(super) fn verified(report: &Value) -> String {
    let mut text = String::new();
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    for finding in findings {
        let _ = writeln!(text, "{}: {}", shown(&finding[0]), words(&finding[1]));
    }
    let more = number(&report["wrong"]).saturating_sub(findings.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    if let Some(why) = report["failed"].as_str() {
        let _ = writeln!(text, "not verified: {why}");
        if number(&report["files"]) == 0 {
            return text;
        }
    }
    let (files, manifests, size) = (number(&report["files"]), number(&report["manifests"]), number(&report["bytes"]));
    let verdict = match number(&report["wrong"]) {
        0 if report["failed"].is_string() => "those as they say".to_owned(),
        0 => "all as they say".to_owned(),
        wrong => format!("{wrong} wrong"),
    };
    let _ = writeln!(text, "{files} files of {manifests} manifests ({}) compared: {verdict}", bytes(size));
    text
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shown(value: &Value) -> Cow<'_, str> {
    name(words(value))
}

#[cfg(test)]
mod tests {
    use super::{bar, pushed, table, verified};
    use serde_json::json;

    #[test]
    fn the_table_tells_what_is_under_way_and_what_is_wrong() {
        let details = json!({"images": {
            "folder": "/in", "bucket": "https://s3/b", "waiting": 3, "unfinished": 1, "uploaded": 12,
            "uploading": [{"path": "a\nb", "key": "k", "size": 40_000_000, "sent": 10_000_000}],
            "in_use": {"count": 1, "examples": [{"path": "c", "why": "open for writing by pid 7 (x)"}]},
            "failed": {"count": 2, "examples": [{"path": "d", "why": "denied"}]},
            "refused": {"count": 0, "examples": []}, "troubles": ["the store does not answer"],
            "last": {"path": "e", "key": "2026/e", "time": "2026-11-21T10:00:00Z"},
        }});
        assert_eq!(
            table(&details),
            "PRODUCT              UPLOADED  WAITING  SENDING     OPEN   FAILED  FOLDER → BUCKET\n\
             images                     12        3        1        2        2  /in → https://s3/b\n  \
             trouble: the store does not answer\n  \
             [#####---------------]  25% of 40.0 MB a\\nb → k\n  \
             failed: d: denied\n  \
             failed: 1 more\n  \
             in use: c: open for writing by pid 7 (x)\n  \
             last: e → 2026/e at 2026-11-21T10:00:00Z\n"
        );
        assert!(bar(0, 0).starts_with("[") && bar(9, 3).contains("100%"));
    }

    #[test]
    fn what_was_pushed_or_verified_is_a_sentence() {
        let one = json!({"product": "p", "path": "a", "state": "refused", "why": "open"});
        assert_eq!(pushed(&one), "p: a: refused: open");
        assert_eq!(
            pushed(&json!({"product": "p", "path": "a", "state": "uploaded", "key": "k"})),
            "p: a: uploaded as k"
        );
        let report =
            json!({"files": 2, "manifests": 1, "bytes": 1500, "wrong": 1, "findings": [["k", "it has 1 bytes"]]});
        assert_eq!(verified(&report), "k: it has 1 bytes\n2 files of 1 manifests (1.5 kB) compared: 1 wrong\n");
        let failed = json!({"files": 0, "manifests": 0, "bytes": 0, "wrong": 0, "failed": "there is no manifest"});
        assert_eq!(verified(&failed), "not verified: there is no manifest\n");
    }
}

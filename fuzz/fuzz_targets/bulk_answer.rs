//! An item is settled as its own status says, whatever else an answer has; what is no answer settles nothing.
#![no_main]

use hostwright_fuzz::logs::output::request::bulk::not_taken;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// The status of each item, if this is an answer as serde_json reads it.
fn statuses(body: &[u8]) -> Option<Vec<u64>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let of_item = |item: &Value| item.get("create").or(item.get("index"))?.get("status")?.as_u64();
    answer["items"].as_array()?.iter().map(of_item).collect()
}

fn check(body: &[u8], count: usize, ids: bool) {
    let Some(found) = not_taken(body, count, ids) else { return };
    assert!(found.is_sorted_by(|one, other| one.index < other.index) && found.iter().all(|one| one.index < count));
    let Some(statuses) = statuses(body).filter(|statuses| statuses.len() == count) else { return };
    for (index, status) in statuses.into_iter().enumerate() {
        let outcome = found.iter().find(|one| one.index == index);
        match status {
            200..=299 => assert!(outcome.is_none()),
            409 if ids => assert!(outcome.is_none()),
            429 | 500..=599 => assert!(outcome.is_some_and(|one| !one.refused)),
            300..=599 => assert!(outcome.is_some()),
            _ => {}
        }
    }
}

type Item<'a> = (u16, Option<(&'a str, &'a str)>);

fuzz_target!(|input: (bool, bool, Vec<Item<'_>>, u16, &[u8])| {
    let (ids, errors, items, at, noise) = input;
    let item = |(status, error): &Item<'_>| {
        let error = error.map(|(kind, reason)| json!({"type": kind, "reason": reason}));
        json!({"create": {"status": status % 600, "error": error}})
    };
    let items: Vec<_> = items.iter().map(item).collect();
    let mut body = json!({"errors": errors, "items": items}).to_string().into_bytes();
    // Anything that one may say of nothing is good.
    if items.len() > 0 {
        check(&body, items.len(), ids);
    }
    let at = usize::from(at).min(body.len());
    body.splice(at..(at + noise.len() / 2).min(body.len()), noise.iter().copied());
    check(&body, items.len(), ids);
    check(noise, items.len(), ids);
});

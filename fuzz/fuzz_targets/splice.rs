//! What is made of a line for any output that takes JSON is one line, an object with our fields and all of its own.
#![no_main]

use hostwright_fuzz::config::logs::output::Fields;
use hostwright_fuzz::logs::output::Origin;
use hostwright_fuzz::logs::output::encode::flat::Flat;
use hostwright_fuzz::logs::output::encode::splice::{Splice, Stamp};
use hostwright_fuzz::logs::record::clock::Clock;
use hostwright_fuzz::logs::record::json::{fields, unescape};
use hostwright_fuzz::logs::record::{Facts, Id, Object, Record, Time};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::LazyLock;

static ORIGIN: LazyLock<Origin> =
    LazyLock::new(|| Origin { host: "h\"1".into(), labels: [("role".to_owned(), "\u{1}".to_owned())].into() });
static FACTS: LazyLock<Facts> = LazyLock::new(|| {
    let fields = [("a", "b"), ("image", "c/d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Facts { source: "s".into(), file: "/\\".into(), fields: fields.into() }
});

/// The names of an object's fields, if each stands there once.
fn names(text: &str) -> Option<BTreeSet<String>> {
    let (mut all, mut count) = (BTreeSet::new(), 0);
    fields(text, |name, _| {
        let mut plain = String::new();
        unescape(name, &mut plain);
        all.insert(plain);
        count += 1;
    })?;
    (all.len() == count).then_some(all)
}

/// Two of one name are no good JSON: a line that had none has none.
fn check_splice(record: &Record<'_>, stamp: Stamp) {
    let mut out = Vec::new();
    Splice::new(&ORIGIN, &FACTS, stamp).push(record, &mut out);
    let out = std::str::from_utf8(&out).expect("text");
    assert!(!out.contains('\n'), "{out}");
    serde_json::from_str::<serde::de::IgnoredAny>(out).expect("JSON");
    let own = if record.object.is_some() { names(record.text) } else { Some(BTreeSet::new()) };
    let Some(own) = own else { return };
    let all = names(out).expect("each once");
    assert!(own.is_subset(&all));
    // Code units that are no characters, and numbers beyond all bounds, are for the receiver to take or not.
    let Ok(found) = serde_json::from_str::<Map<String, Value>>(out) else { return };
    let mut expected =
        json!({"host": ORIGIN.host, "labels": ORIGIN.labels, "source": FACTS.source, "file": FACTS.file});
    let map = expected.as_object_mut().expect("an object");
    map.extend(FACTS.fields.iter().map(|(name, value)| (name.clone(), json!(value))));
    match stamp {
        Stamp::Time if record.object.is_none() => map.extend([("time".to_owned(), json!("now"))]),
        Stamp::AtTimestamp => map.extend([("@timestamp".to_owned(), json!("now"))]),
        Stamp::Time => {}
    }
    match record.object {
        Some(_) => map.extend(serde_json::from_str::<Map<String, Value>>(record.text).expect("as before")),
        None => map.extend([("message".to_owned(), json!(record.text))]),
    }
    if record.cut {
        map.extend([("cut".to_owned(), json!(true))]);
    }
    assert_eq!(&found, map);
}

/// What is of another kind than ours is under another name, and what ECS has as objects are objects.
fn check_ecs(record: &Record<'_>) {
    let mut out = Vec::new();
    Splice::indexed(Fields::Ecs, &ORIGIN, &FACTS).push(record, &mut out);
    let out = std::str::from_utf8(&out).expect("text");
    assert!(!out.contains('\n'), "{out}");
    serde_json::from_str::<serde::de::IgnoredAny>(out).expect("JSON");
    let own = if record.object.is_some() { names(record.text) } else { Some(BTreeSet::new()) };
    if own.is_none() {
        return;
    }
    names(out).expect("each once");
    let Ok(found) = serde_json::from_str::<Map<String, Value>>(out) else { return };
    assert!(["host", "labels", "log"].iter().all(|name| found[*name].is_object()), "{out}");
    assert!(!found["log_source"].is_object() && found["@timestamp"].is_string(), "{out}");
}

/// Nothing is nested, and nothing stands in it that ends a message.
fn check_flat(record: &Record<'_>) {
    let all =
        [Flat::gelf(&ORIGIN, &FACTS), Flat::ovh_gelf(&ORIGIN, &FACTS, "t"), Flat::ovh_document(&ORIGIN, &FACTS, "t")];
    for mut flat in all {
        let mut out = Vec::new();
        flat.push(record, &mut out);
        let out = std::str::from_utf8(&out).expect("text");
        assert!(!out.contains(['\n', '\0']), "{out}");
        let found: Map<String, Value> = serde_json::from_str(out).expect("an object");
        assert!(found.values().all(|value| value.is_string() || value.is_number()), "{out}");
        let message = found.get("short_message").or(found.get("message"));
        assert!(message.and_then(Value::as_str).is_some_and(|message| !message.is_empty()), "{out}");
    }
}

fuzz_target!(|input: (bool, &str)| {
    let (cut, text) = input;
    // serde_json is bounded in depth.
    if text.contains('\n') && !text.starts_with('{') || text.matches(['[', '{']).count() > 100 {
        return;
    }
    let object = Object::of(text, &Clock::default());
    let cut = cut && object.is_none();
    let record = Record { text, cut, object, time: Time::Text("now"), severity: None, id: Id::default() };
    check_splice(&record, Stamp::Time);
    check_splice(&record, Stamp::AtTimestamp);
    check_ecs(&record);
    let time = Time::Text("2026-11-20T10:11:12Z");
    check_flat(&Record { time, ..record });
});

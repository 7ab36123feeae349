//! What is done to a record before it is shipped, or whether it is.
//!
//! In: a record. Out: the same, another text of it, or nothing. All filters tell the same of a record however often it
//! is read, so that what is sent again is the same.

/// Fields renamed, left out and added.
mod edit;
/// So many records in a time.
mod limit;
/// What should not leave the host.
mod redact;

pub use limit::Window;

use super::{Record, json};
use edit::Edit;
use hostwright_core::config::logs::filter::{self as config, Matching, RateLimit};
use redact::Redaction;
use regex::Regex;

/// A source's filters, in order.
#[derive(Debug, Default)]
pub struct Filters(Vec<Filter>);

#[derive(Debug)]
enum Filter {
    Keep(Match),
    Drop(Match),
    Sample(u64),
    /// With the index of its window.
    RateLimit(RateLimit, usize),
    Redact(Redaction),
    Edit(Edit),
}

#[derive(Debug)]
struct Match {
    regex: Regex,
    field: Option<String>,
}

/// Texts that are made of records, kept for the next one.
#[derive(Debug, Default)]
pub struct Texts {
    now: String,
    next: String,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Filtered<'a> {
    Same,
    Dropped,
    /// It has this text now, which is a JSON object or not.
    Changed(&'a str, bool),
}

impl Filters {
    /// # Errors
    /// A regular expression is not valid.
    pub fn new(filters: &[config::Filter]) -> Result<Self, regex::Error> {
        let mut windows = 0;
        let filter = |filter: &config::Filter| {
            Ok(match filter {
                config::Filter::Keep(matching) => Filter::Keep(Match::new(matching)?),
                config::Filter::Drop(matching) => Filter::Drop(Match::new(matching)?),
                config::Filter::Sample(one_in) => Filter::Sample(*one_in),
                config::Filter::RateLimit(limit) => {
                    windows += 1;
                    Filter::RateLimit(*limit, windows - 1)
                }
                config::Filter::Redact(secrets) => Filter::Redact(Redaction::new(secrets)?),
                config::Filter::Rename(names) => Filter::Edit(Edit::Rename(names.clone())),
                config::Filter::Remove(names) => Filter::Edit(Edit::Remove(names.clone())),
                config::Filter::Add(fields) => Filter::Edit(Edit::Add(fields.clone())),
            })
        };
        filters.iter().map(filter).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Passes a record through all of them. `windows` are those of the record's file.
    pub fn pass<'a>(&self, record: &Record<'_>, windows: &mut Vec<Window>, texts: &'a mut Texts) -> Filtered<'a> {
        let Texts { now, next } = texts;
        let mut is_changed = false;
        let mut is_object = record.object.is_some();
        for filter in &self.0 {
            let text = if is_changed { now.as_str() } else { record.text };
            next.clear();
            let stays = match filter {
                Filter::Keep(matching) => matching.matches(text, is_object),
                Filter::Drop(matching) => !matching.matches(text, is_object),
                Filter::Sample(one_in) => sample(record.id).is_multiple_of(*one_in),
                Filter::RateLimit(limit, index) => {
                    if windows.len() <= *index {
                        windows.resize_with(index + 1, Window::default);
                    }
                    windows[*index].admits(*limit, record)
                }
                Filter::Redact(redaction) => {
                    redaction.push(text, is_object, next);
                    true
                }
                Filter::Edit(edit) => {
                    edit.push(text, record, is_object, next);
                    // Fields can be added to a text only where it becomes one of them.
                    is_object |= matches!(edit, Edit::Add(_));
                    true
                }
            };
            if !stays {
                return Filtered::Dropped;
            }
            if matches!(filter, Filter::Redact(_) | Filter::Edit(_)) {
                std::mem::swap(now, next);
                is_changed = true;
            }
        }
        if is_changed { Filtered::Changed(now, is_object) } else { Filtered::Same }
    }
}

impl Match {
    fn new(matching: &Matching) -> Result<Self, regex::Error> {
        Ok(Self { regex: Regex::new(matching.pattern.as_str())?, field: matching.field.clone() })
    }

    fn matches(&self, text: &str, is_object: bool) -> bool {
        let Some(field) = &self.field else { return self.regex.is_match(text) };
        if !is_object {
            return field == "message" && self.regex.is_match(text);
        }
        let mut matches = false;
        let _ = json::fields(text, |name, value| {
            if edit::is_name(name, field) {
                matches = self.regex.is_match(&json::text(value));
            }
        });
        matches
    }
}

/// A number that is as good as drawn, and the same for the same record (the finaliser of MurmurHash3).
fn sample(id: super::Id) -> u64 {
    let mut mixed = id.content ^ id.offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 33)
}

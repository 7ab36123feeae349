use crate::logs::output::request::NotTaken;
use memchr::memmem;
use serde::Deserialize;
use serde_json::Value;

/// Answers begin with `took` and `errors`; a rough bound for how far that is.
const BEGINNING: usize = 1 << 10;

/// The items that are not there, of so many. None if this is no answer to a request with them.
pub fn not_taken(body: &[u8], count: usize, ids: bool) -> Option<Vec<NotTaken>> {
    if all_taken(body, count) {
        return Some(Vec::new());
    }
    let outcomes: Outcomes = serde_json::from_slice(body).ok()?;
    if outcomes.items.is_empty() && !outcomes.errors {
        return Some(Vec::new());
    }
    if outcomes.items.len() != count {
        return None;
    }
    let not_taken = outcomes.items.into_iter().enumerate().filter_map(|(index, item)| {
        let outcome = item.create;
        Some(NotTaken { index, refused: outcome.refused(ids)?, why: outcome.why() })
    });
    Some(not_taken.collect())
}

/// Whether the answer says at its beginning that nothing failed, and of so many items that they are there. Anything else
/// (some platforms do not repeat the items) is looked at more closely.
fn all_taken(body: &[u8], count: usize) -> bool {
    const STATUS: &[u8] = b"\"status\":";
    let beginning = &body[..body.len().min(BEGINNING)];
    if !body.starts_with(b"{") || memmem::find(beginning, b"\"errors\":false").is_none() {
        return false;
    }
    let mut taken = 0;
    for at in memmem::find_iter(body, STATUS) {
        if body.get(at + STATUS.len()) != Some(&b'2') {
            return false;
        }
        taken += 1;
    }
    taken == count
}

#[derive(Deserialize)]
struct Outcomes {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(alias = "index")]
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    status: u16,
    error: Option<Value>,
}

impl Outcome {
    /// None if the document is there; otherwise whether it never will be.
    fn refused(&self, ids: bool) -> Option<bool> {
        match self.status {
            200..=299 => None,
            0 if self.error.is_none() => None,
            // An earlier attempt brought it.
            409 if ids => None,
            401 | 403 | 404 | 408 | 429 | 500.. => Some(false),
            _ => Some(!self.is_of_the_cluster()),
        }
    }

    /// Some of what is answered with 400 is for the cluster's operator to mend, and no fault of the document.
    fn is_of_the_cluster(&self) -> bool {
        let kind = self.text("type");
        kind == "validation_exception"
            || kind == "illegal_argument_exception" && self.text("reason").starts_with("pipeline with id")
    }

    fn text(&self, name: &str) -> &str {
        self.error.as_ref().and_then(|error| error[name].as_str()).unwrap_or_default()
    }

    fn why(&self) -> String {
        let mut why = format!("status {}", self.status);
        match &self.error {
            Some(Value::String(text)) => why.push_str(&format!(", {text}")),
            Some(error) => {
                why.push_str(&format!(", {}: {}", self.text("type"), self.text("reason")));
                if let Some(cause) = error["caused_by"]["reason"].as_str() {
                    why.push_str(&format!(" ({cause})"));
                }
            }
            None => {}
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::not_taken;

    #[test]
    fn an_item_that_failed_is_not_there_whatever_is_said_of_all() {
        let body = br#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":429}}]}"#;
        let found = not_taken(body, 2, true).expect("an answer");
        assert_eq!(found.iter().map(|one| (one.index, one.refused)).collect::<Vec<_>>(), [(1, false)]);
    }

    #[test]
    fn whatever_a_platform_answers_is_an_outcome_for_each_item_or_none_at_all() {
        let good = r#"{"took":1,"errors":true,"items":[{"create":{"status":201}},{"index":{"status":429,"error":{"type":"a","reason":"b"}}},{"create":{"status":400,"error":"c"}}]}"#;
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut body = good.as_bytes().to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..body.len());
                match random.u8(..3) {
                    0 => body[at] = random.u8(..),
                    1 => body.truncate(at.max(1)),
                    _ => body.insert(at, *random.choice(b"{}[]\",:0").unwrap_or(&b'0')),
                }
            }
            let found = not_taken(&body, 3, true).unwrap_or_default();
            assert!(found.iter().all(|one| one.index < 3), "{found:?}");
        }
    }
}

use serde::Deserialize;

/// What an answer says of events that were not taken.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rejected {
    too_new_log_event_start_index: Option<usize>,
    too_old_log_event_end_index: Option<usize>,
    expired_log_event_end_index: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Put {
    rejected_log_events_info: Option<Rejected>,
}

/// The events that were not taken, of so many in the order of their times: where they stand, and what is wrong with
/// their times.
pub fn rejected(body: &[u8], events: usize) -> impl Iterator<Item = (usize, &'static str)> {
    let put: Put = serde_json::from_slice(body).unwrap_or_default();
    let rejected = put.rejected_log_events_info.unwrap_or_default();
    let too_new = rejected.too_new_log_event_start_index.unwrap_or(usize::MAX);
    let too_old = rejected.too_old_log_event_end_index.unwrap_or(0);
    let expired = rejected.expired_log_event_end_index.unwrap_or(0);
    (0..events).filter_map(move |at| match at {
        _ if at < expired => Some((at, "older than the log group keeps events")),
        _ if at < too_old => Some((at, "more than 14 days old, or older than the log group keeps events")),
        _ if at >= too_new => Some((at, "more than 2 hours in the future")),
        _ => None,
    })
}

/// The name of an error.
pub fn kind(body: &[u8]) -> String {
    let error: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = error["__type"].as_str().unwrap_or_default();
    kind.rsplit('#').next().unwrap_or_default().to_owned()
}

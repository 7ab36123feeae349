#[path = "../../agent/src/http/retry_after.rs"]
pub mod retry_after;
#[path = "../../agent/src/http/shown.rs"]
pub mod shown;

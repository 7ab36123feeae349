#[path = "../../agent/duty/src/http/retry_after.rs"]
pub mod retry_after;
#[path = "../../agent/duty/src/http/shown.rs"]
pub mod shown;

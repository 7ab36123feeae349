#[path = "../../../agent/src/logs/record/clock.rs"]
pub mod clock;
#[path = "../../../agent/src/logs/record/container.rs"]
pub mod container;
#[path = "../../../agent/src/logs/record/facts.rs"]
pub mod facts;
#[path = "../../../agent/src/logs/record/form.rs"]
pub mod form;
#[path = "../../../agent/src/logs/record/id.rs"]
pub mod id;
#[path = "../../../agent/src/logs/record/json/mod.rs"]
pub mod json;
#[path = "../../../agent/src/logs/record/line.rs"]
pub mod line;
#[path = "../../../agent/src/logs/record/logfmt.rs"]
pub mod logfmt;
#[path = "../../../agent/src/logs/record/object.rs"]
pub mod object;
#[path = "../../../agent/src/logs/record/severity.rs"]
pub mod severity;
#[path = "../../../agent/src/logs/record/syslog.rs"]
pub mod syslog;
#[path = "../../../agent/src/logs/record/time.rs"]
pub mod time;

pub use facts::Facts;
pub use id::Id;
pub use line::Record;
pub use object::{AT_TIMESTAMP, FIELDS, LOG, LOG_SOURCE, ODD_TIMESTAMP, Object, is_date};
pub use time::{Time, Zone};

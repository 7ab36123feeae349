#[path = "../../../../agent/src/logs/output/request/lumberjack/acknowledgements.rs"]
pub mod acknowledgements;
#[path = "../../../../agent/src/logs/output/request/bulk/answer.rs"]
pub mod bulk;
#[path = "../../../../agent/src/logs/output/request/cloudwatch/answer.rs"]
pub mod cloudwatch;
#[path = "../../../../agent/src/logs/output/request/loki/answer.rs"]
pub mod loki;
#[path = "../../../../agent/src/logs/output/request/otlp/answer.rs"]
pub mod otlp;
#[path = "../../../../agent/src/logs/output/request/outcome.rs"]
pub mod outcome;

pub use outcome::NotTaken;

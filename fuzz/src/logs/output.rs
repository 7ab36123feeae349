pub mod encode;
#[path = "../../../agent/src/logs/output/origin.rs"]
pub mod origin;
pub mod request;

pub use origin::Origin;

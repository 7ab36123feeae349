pub mod encode;
#[path = "../../../agent/src/logs/output/origin.rs"]
pub mod origin;
#[path = "../../../agent/src/logs/output/protobuf.rs"]
pub mod protobuf;
pub mod request;

pub use origin::Origin;

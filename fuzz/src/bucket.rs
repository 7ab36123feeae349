#[path = "../../agent/core/src/config/products/key.rs"]
pub mod key;
#[path = "../../agent/src/products/letter.rs"]
pub mod letter;
#[path = "../../agent/src/products/manifest/format.rs"]
pub mod manifest;
#[path = "../../agent/core/src/bucket/swift/answers.rs"]
pub mod swift;

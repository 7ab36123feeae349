//! The bootstrap's modules that take a user-data apart.

#[path = "../../bootstrap/src/boot/userdata/parts/header.rs"]
pub mod header;
#[path = "../../bootstrap/src/boot/userdata/merge.rs"]
pub mod merge;
#[path = "../../bootstrap/src/boot/userdata/parts/mime.rs"]
pub mod mime;
#[path = "../../bootstrap/src/boot/userdata/patch.rs"]
pub mod patch;
#[path = "../../bootstrap/src/boot/userdata/parts/transfer.rs"]
pub mod transfer;

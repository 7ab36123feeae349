//! The bootstrap's modules that read who an instance is.

#[path = "../../bootstrap/src/boot/datasource/azure_environment.rs"]
pub mod azure_environment;
#[path = "../../bootstrap/src/boot/datasource/documents.rs"]
pub mod documents;
#[path = "../../bootstrap/src/boot/datasource/gce_document.rs"]
pub mod gce_document;
#[path = "../../bootstrap/src/boot/datasource/metadata.rs"]
pub mod metadata;
#[path = "../../bootstrap/src/boot/datasource/seed.rs"]
pub mod seed;

pub use metadata::Metadata;

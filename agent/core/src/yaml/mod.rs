//! YAML text → a tree of nodes that know their line and column.
//!
//! One loader serves `agent.yaml`, cloud-config and Compose files, because all three need what typed deserialisation
//! does not give: every error of a document in one run, each with its place. Parsing is `saphyr-parser`'s; this module
//! builds the tree from its events under limits on size, depth and alias expansion, and merges `<<` keys
//! (<https://yaml.org/type/merge.html>).

/// What was loaded, or why it was not.
mod document;
/// A node as text.
mod emit;
/// Lines that begin further left than YAML 1.2 allows.
mod indentation;
/// A tree as YAML 1.1 readers see it.
mod json;
/// Keys that stand twice, and merged ones.
mod keys;
/// Text as a tree.
mod load;
/// The tree.
mod node;
/// The types of plain scalars.
mod scalar;
/// What is no YAML, in an operator's words.
mod scan_error;

pub use document::{Document, Duplicates, LoadError, Warning};
pub use emit::emit;
pub use json::to_json;
pub use load::{load, load_stream};
pub use node::{Entry, Mapping, Node, Place, Value};
pub use scalar::Scalar;

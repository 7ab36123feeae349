//! Compose files → one canonical model, or every fault of the stage that has any.
//!
//! The stages are Compose's own, in its order, over a tree that knows its places: each document is parsed, filled with
//! variables, extended, has what it includes added, is merged into what stood before it, checked against the
//! specification's schema, and its short forms become long ones; then defaults, absolute paths, names, profiles, and
//! what only shows in the whole. What comes out is what `docker compose config --format json` prints. Files are read
//! and nothing else is touched.

mod canonical;
mod consistency;
mod date;
mod decode;
mod dotenv;
mod environment;
mod extends;
mod fault;
mod include;
mod interpolate;
mod load;
mod merge;
mod normalize;
mod path;
mod paths;
mod port_spec;
mod print;
pub mod regular;
mod reset;
mod schema;
mod session;
mod shape;
mod shellwords;
mod template;
mod tree;
mod unicity;
mod units;
mod validate;
mod variables;
mod volume_spec;

pub use fault::{Fault, error, shortened};
pub use load::{Model, Request, load};
pub use path::Path as Keys;
#[cfg(test)]
pub use shape::attribute_paths;
pub use tree::{Map, Tree, Value};
pub use units::read_duration;
pub use variables::Variables;

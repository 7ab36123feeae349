//! A Compose file → a typed, checked [`Project`], or every problem that it has.
//!
//! The stages are Compose's own: parse into a tree that knows its places (`hostwright_core::yaml`, which merges `<<`),
//! fill in variables from the environment and `.env`, then read attribute by attribute. Every attribute of the
//! specification is carried out or refused by name. Nothing here touches the engine or outlives a restart.

mod attachment;
mod command;
mod dependency;
mod dotenv;
mod environment;
mod healthcheck;
mod interpolate;
mod limits;
mod load;
mod mount;
mod network;
mod port;
mod project;
mod rollout;
mod service;
mod unsupported;
mod values;
mod variables;
mod volume;

pub use attachment::{Attachment, Endpoint};
pub use dependency::Condition;
pub use healthcheck::Healthcheck;
pub use load::{Loaded, load};
pub use mount::{Mount, Source};
pub use network::Network;
pub use port::Port;
pub use project::Project;
pub use rollout::Order;
pub use service::{PullPolicy, Restart, Service};
pub use volume::Volume;

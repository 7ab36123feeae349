//! A Compose file → a typed, checked [`Project`], or every problem that it has.
//!
//! `model` makes of the file, and of all that it names, the canonical model that `docker compose config` prints; here
//! that becomes what the engine is asked for. Every attribute of the specification is carried out, noted as without
//! effect, or refused by name (`attributes`). Nothing here touches the engine or outlives a restart, but for configs
//! and secrets, which become files on the host (`service_file`).

mod attachment;
mod attributes;
mod dependency;
mod device;
mod healthcheck;
mod limits;
mod load;
mod model;
mod mount;
mod namespaces;
mod network;
mod port;
mod project;
mod read;
mod rollout;
mod service;
mod service_file;
mod volume;

pub use attachment::{Attachment, Endpoint};
pub use dependency::Condition;
pub use device::DeviceRequest;
pub use healthcheck::Healthcheck;
pub use limits::Blkio;
pub use load::{Loaded, canonical, load};
pub use model::Request;
pub use mount::{Mount, Source};
pub use network::Network;
pub use port::Port;
pub use project::Project;
pub use rollout::{OnFailure, Order, Pace};
pub use service::{PullPolicy, Restart, Service};
pub use volume::Volume;

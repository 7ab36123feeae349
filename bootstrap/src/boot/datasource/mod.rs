//! Where the instance reads who it is and what it shall be.
//!
//! In: the kernel command line, folders, labelled disks, a URL that one of them names. Out: a [`Seed`], with everything
//! read and nothing interpreted but the metadata. Nothing is waited for that is not named; nothing here survives a
//! restart, each boot looks anew. A further datasource is a module beside `nocloud` and a line in [`find`].

mod cmdline;
mod disk;
mod labels;
mod metadata;
mod nocloud;

pub use metadata::Metadata;

use super::host::Host;

/// What a datasource holds for this instance.
pub struct Seed {
    /// The datasource and where it was found: `nocloud (/dev/sr0)`.
    pub datasource: String,
    /// Who the instance is.
    pub metadata: Metadata,
    /// What the operator handed over, as it is.
    pub user_data: Vec<u8>,
    /// What was found and is not used yet; each a sentence.
    pub left_out: Vec<String>,
    /// What is odd; each a sentence.
    pub warnings: Vec<String>,
}

/// The outcome of the search.
pub enum Found {
    /// This instance's seed.
    Seed(Box<Seed>),
    /// It is at a place that only the network reaches.
    OverNetwork(String),
    /// No datasource answers.
    Nothing,
}

/// Finds the seed. Before the network is up (`network` is false) a URL is told and not asked.
///
/// # Errors
/// A datasource is there, but cannot be read.
pub fn find(host: &Host, network: bool) -> anyhow::Result<Found> {
    nocloud::find(host, network)
}

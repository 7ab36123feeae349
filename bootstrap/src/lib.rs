//! The bootstrap: on the VM it configures the host at boot; from a shell it creates and removes VMs.

/// On the VM: datasource → user-data → steps → report.
pub mod boot;
/// From a shell: VMs of a provider, planned and applied.
pub mod instances;

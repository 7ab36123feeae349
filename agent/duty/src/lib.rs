//! What every duty is built of: the supervisor that runs it, what it says of itself, and the ways out of the process that
//! several share.

/// What the Docker Engine keeps of a container, for those who only read.
pub mod docker_root;
/// Requests to servers behind HTTP, the same for all duties.
pub mod http;
/// What duties measure of themselves.
pub mod measures;
/// Lists and orders over netlink, to the kernel.
pub mod netlink;
/// What operators ask of a running duty.
pub mod orders;
/// Protocol Buffers' wire format.
pub mod protobuf;
/// Connections that a listener could not take.
pub mod refusals;
/// What is made of files, and made anew when they change.
pub mod reread;
/// Starts duties, restarts them with backoff, drains them; knows none by name.
pub mod supervisor;

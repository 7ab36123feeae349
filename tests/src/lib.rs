//! The kit of the end-to-end tests: real servers, the real agent, and the waiting between them.
//!
//! Everything that a `start` launched is stopped when its value is dropped, and its folder goes with it.

/// A fake of AWS's store, for what no store that runs here does.
pub mod aws_like;
/// The Basegun scenario around its VM.
pub mod basegun;
/// A machine that is a folder, for boots that touch nothing else.
pub mod boot_tree;
/// A small root file system with busybox for a shell, on which `boot` works.
pub mod busybox_root;
/// Many cases of one test, at once.
pub mod cases;
/// Certificates for servers on loopback and their clients.
pub mod certificates;
/// An agent with the containers duty alone, its Compose file, and who asks its services.
pub mod container_host;
/// Signatures of images.
pub mod cosign;
/// curl, which speaks TLS, HTTP/2 and compression.
pub mod curl;
/// Debian's packages for a machine that has no network.
pub mod debian_packages;
/// The servers that Hostwright talks to, each the real program on loopback.
pub mod engines;
/// What an exporter answered, and how two of them are compared.
pub mod exposition;
/// What stands in front of a store and fails.
pub mod front;
/// A blocking HTTP client over TCP and Unix sockets.
pub mod http;
/// An agent with one service and what its configuration says of images.
pub mod image_host;
/// An agent with one job, and what became of its runs.
pub mod job_host;
/// An application that writes numbered lines, the agent that follows them, and what arrived.
pub mod log_host;
/// A cloud's metadata service.
pub mod metadata_service;
/// A container with systemd as PID 1.
pub mod nspawn;
/// A log of numbered lines.
pub mod numbered_log;
/// TCP ports that no other test takes.
pub mod port;
/// The agent as a process: start, signal, kill, ask.
pub mod process;
/// A proxy between the agent and its receivers.
pub mod proxy;
/// Log platforms that no package has.
pub mod receivers;
/// The scenarios' files, filled in.
pub mod scenario;
/// A child process with its log, stopped on drop.
pub mod server;
/// What is between a server and its client and has little bandwidth.
pub mod throttle;
/// A guest that boots in seconds, to try `up` with.
pub mod tiny_guest;
/// The logs duty under torture.
pub mod torture;
/// A host's kernel files in one text file, unpacked into a folder.
pub mod tree;
/// A full VM, created by our own `up`.
pub mod vm;
/// Waiting for a condition, with a name and a limit.
pub mod wait;
/// Two hosts on a wire.
pub mod wire;

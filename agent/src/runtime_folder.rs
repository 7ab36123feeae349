/// Where sockets are unless systemd says otherwise.
pub const RUNTIME_DIRECTORY: &str = "/run/hostwright";

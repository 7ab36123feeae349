use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::process::Command;

/// What a boot works on: this machine, or a tree that looks like one.
pub struct Host {
    root: PathBuf,
    proc: PathBuf,
    sys: PathBuf,
    runtime: tokio::runtime::Runtime,
    started: Instant,
    last: Mutex<Option<Vec<String>>>,
}

impl Host {
    /// The host whose file system begins at `root`; the kernel's views of it are in `proc` and `sys`.
    ///
    /// # Errors
    /// The operating system gives no event queue.
    pub fn new(root: PathBuf, proc: PathBuf, sys: PathBuf) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { root, proc, sys, runtime, started: Instant::now(), last: Mutex::new(None) })
    }

    /// Where a path of the host is to be found from here.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What a path here is called on the host.
    pub fn inside(&self, here: &Path) -> PathBuf {
        Path::new("/").join(here.strip_prefix(&self.root).unwrap_or(here))
    }

    /// A file below the kernel's `/proc`.
    pub fn proc(&self, relative: &str) -> PathBuf {
        self.proc.join(relative)
    }

    /// A file below the kernel's `/sys`.
    pub fn sys(&self, relative: &str) -> PathBuf {
        self.sys.join(relative)
    }

    /// Whether this is the machine that the program runs on, and not a tree.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Whether systemd is its PID 1, by sd_booted(3)'s own rule.
    pub fn has_systemd(&self) -> bool {
        self.is_this_machine() && self.path("/run/systemd/system").is_dir()
    }

    /// The distribution's id by os-release(5): `debian`, `ubuntu`, `fedora`.
    pub fn distribution(&self) -> String {
        let text = std::fs::read_to_string(self.path("/etc/os-release")).unwrap_or_default();
        let id = text.lines().find_map(|line| line.strip_prefix("ID="));
        id.map_or("debian", |id| id.trim_matches(['"', '\''])).to_owned()
    }

    /// The name of its release by os-release(5): `bookworm`, `noble`.
    pub fn codename(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.path("/etc/os-release")).unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        name.map(|name| name.trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
    }

    /// Whether its packages are RPMs.
    pub fn has_rpm(&self) -> bool {
        self.program("rpm").is_some() && self.program("dpkg").is_none()
    }

    /// Where a program is, by the folders in which an administrator's `PATH` looks.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| {
            let metadata = self.path(path).metadata();
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        })
    }

    /// A command on the host, with an environment that is the same at each boot.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = if self.is_this_machine() {
            Command::new(program)
        } else {
            let mut chroot = Command::new("/usr/sbin/chroot");
            chroot.arg(&self.root).arg(program);
            chroot
        };
        let proxies =
            std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.ends_with("_proxy")));
        command.env_clear().envs(proxies);
        command.env("PATH", PATH).env("HOME", "/root").env("LANG", "C.UTF-8").env("TERM", "dumb");
        command
    }

    /// This boot's id: another one after each start of the kernel or container.
    pub fn boot_id(&self) -> String {
        let path = self.proc("sys/kernel/random/boot_id");
        std::fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
    }

    /// Seconds since the machine started; since the program did where the kernel does not tell.
    pub fn uptime(&self) -> f64 {
        let text = std::fs::read_to_string(self.proc("uptime")).unwrap_or_default();
        let first = text.split_whitespace().next().and_then(|seconds| seconds.parse().ok());
        first.unwrap_or_else(|| self.started.elapsed().as_secs_f64())
    }

    /// Wants a command, such as a reboot, when everything is done and reported. The first one counts.
    pub fn run_last(&self, command: Vec<String>) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(command);
    }

    /// What a step wanted for the end, if any did.
    pub fn take_last(&self) -> Option<Vec<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Since the program started.
    pub fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Runs what waits for sockets, processes and time.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// Debian's for root; early in boot nobody has set one.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first `limit` bytes of a file, or an error that says it has more.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes, the most that is read")));
    }
    Ok(content)
}

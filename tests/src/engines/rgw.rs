//! Ceph's RADOS Gateway over a cluster of one monitor, one manager and one OSD in memory.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::http;
use crate::port::Port;
use crate::server::{Server, search_path};
use crate::wait::eventually;

const START_TIMEOUT: Duration = Duration::from_secs(120);
pub const ACCESS_KEY: &str = "rgw-access";
pub const SECRET_KEY: &str = "rgw-secret";
const USER: &str = "tester";

/// A store that answers at `endpoint` (path style) to `ACCESS_KEY` and `SECRET_KEY`.
#[derive(Debug)]
pub struct Rgw {
    /// In the order in which they are stopped.
    servers: Vec<Server>,
    port: Port,
    _monitor: Port,
    folder: TempDir,
}

impl Rgw {
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// One that has this storage class beside the default.
    pub fn start_with_storage_class(class: &str) -> Result<Self> {
        Self::start_with(Some(class))
    }

    fn start_with(class: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir_in("/var/tmp")?;
        let (port, monitor) = (Port::reserve()?, Port::reserve()?);
        configure(folder.path(), &port, &monitor)?;
        let mut rgw = Self { servers: Vec::new(), port, _monitor: monitor, folder };
        rgw.start_cluster()?;
        rgw.start_gateway()?;
        if let Some(class) = class {
            rgw.add_storage_class(class)?;
        }
        let keys = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY];
        rgw.admin(&[&["user", "create", "--uid", USER, "--display-name", USER][..], &keys].concat())?;
        Ok(rgw)
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Lets the user have so many bytes.
    pub fn set_quota(&self, bytes: u64) -> Result<()> {
        let quota = ["quota", "set", "--quota-scope=user", "--uid", USER, "--max-size", &bytes.to_string()];
        self.admin(&quota)?;
        self.admin(&["quota", "enable", "--quota-scope=user", "--uid", USER])
    }

    fn start_cluster(&mut self) -> Result<()> {
        let folder = self.folder.path().to_owned();
        let monitor = self.daemon("ceph-mon", &["-i", "a", "-f"])?;
        self.servers.push(monitor);
        eventually("the monitor answers", START_TIMEOUT, || ceph(&folder, &["--connect-timeout", "5", "-s"]))?;
        let manager = self.daemon("ceph-mgr", &["-i", "x", "-f"])?;
        self.servers.push(manager);
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        // This tool asks for the map of monitors, whatever it is told, and may be refused as `daemon` says.
        let id = eventually("an OSD is known", START_TIMEOUT, || ceph(&folder, &["osd", "new", uuid.trim()]))?;
        self.run("ceph-osd", &["-i", id.trim(), "--mkfs", "--osd-uuid", uuid.trim()])?;
        let mut osd = self.daemon("ceph-osd", &["-i", id.trim(), "-f"])?;
        osd.wait_until("the OSD is up", START_TIMEOUT, || {
            let stat = ceph(&folder, &["osd", "stat"])?;
            ensure!(stat.contains("1 up"), "{stat}");
            Ok(())
        })?;
        self.servers.push(osd);
        Ok(())
    }

    fn start_gateway(&mut self) -> Result<()> {
        let mut gateway = self.daemon("radosgw", &["-n", "client.rgw", "-f"])?;
        let address = self.port.address();
        gateway.wait_until("the gateway answers", START_TIMEOUT, || http::get(address, "/")?.success())?;
        self.servers.push(gateway);
        Ok(())
    }

    /// What there is of zones is made by the first gateway, and read when one starts.
    fn add_storage_class(&mut self, class: &str) -> Result<()> {
        let placement = ["--placement-id", "default-placement", "--storage-class", class];
        self.admin(&[&["zonegroup", "placement", "add", "--rgw-zonegroup", "default"][..], &placement].concat())?;
        let pool = ["--data-pool", "default.rgw.class.data"];
        self.admin(&[&["zone", "placement", "add", "--rgw-zone", "default"][..], &placement, &pool].concat())?;
        if let Some(mut gateway) = self.servers.pop() {
            gateway.kill_group()?;
        }
        self.start_gateway()
    }

    fn admin(&self, arguments: &[&str]) -> Result<()> {
        self.run("radosgw-admin", &[&["--no-mon-config"], arguments].concat())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        run(self.folder.path(), program, arguments).map(drop)
    }

    /// Takes the map of monitors from its file. One that is told an address alone may send its first command before
    /// it has got the map from there, with a cluster's id of zeros; then the monitor refuses it, and it waits for ever.
    fn daemon(&self, program: &str, arguments: &[&str]) -> Result<Server> {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.path().join("ceph.conf")).arg("--no-mon-config").args(arguments);
        Server::start(&command, &self.folder.path().join(format!("{program}.out")))
    }
}

impl Drop for Rgw {
    fn drop(&mut self) {
        // What is in memory is of no use to anybody: the gateway first, the monitor last.
        while let Some(mut server) = self.servers.pop() {
            let _ = server.kill_group();
        }
    }
}

fn configure(folder: &Path, port: &Port, monitor: &Port) -> Result<()> {
    for name in ["run", "log", "mon", "mgr", "osd", "rgw"] {
        fs::create_dir(folder.join(name))?;
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let (path, id, monitor) = (folder.display(), id.trim(), monitor.address());
    let config = format!(
        "[global]\nfsid = {id}\nmonmap = {path}/monmap\npublic addr = 127.0.0.1\ncluster addr = 127.0.0.1\n\
         auth cluster required = none\nauth service required = none\nauth client required = none\n\
         auth supported = none\nosd pool default size = 1\nosd pool default min size = 1\n\
         osd pool default pg num = 8\nosd pool default pgp num = 8\nosd crush chooseleaf type = 0\n\
         mon allow pool size one = true\nmon max pg per osd = 1000\nmon warn on pool no redundancy = false\n\
         ms bind msgr2 = false\nms bind ipv6 = false\nrun dir = {path}/run\nlog file = {path}/log/$name.log\n\
         admin socket = {path}/run/$name.asok\nmon data = {path}/mon\nmgr data = {path}/mgr\nosd data = {path}/osd\n\
         osd objectstore = memstore\nmemstore device bytes = 4294967296\nkeyring = {path}/keyring\n\
         crash dir = {path}/log\nmon cluster log file = {path}/log/cluster.log\npid file =\n\
         [mon.a]\nmon addr = v1:{monitor}\n\
         [client.rgw]\nrgw frontends = beast endpoint={}\nrgw data = {path}/rgw\nrgw enable usage log = false\n\
         rgw crypt require ssl = false\nrgw user quota sync interval = 1\nrgw bucket quota ttl = 0\n",
        port.address()
    );
    fs::write(folder.join("ceph.conf"), config)?;
    let at = |name: &str| folder.join(name).display().to_string();
    let (keyring, map) = (at("keyring"), at("monmap"));
    tool("ceph-authtool", &[&keyring, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"])?;
    let addresses = format!("[v1:{monitor}]");
    tool("monmaptool", &["--create", "--clobber", "--fsid", id, "--addv", "a", &addresses, &map])?;
    run(folder, "ceph-mon", &["--mkfs", "-i", "a", "--monmap", &map, "--keyring", &keyring]).map(drop)
}

fn ceph(folder: &Path, arguments: &[&str]) -> Result<String> {
    run(folder, "ceph", arguments)
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let config = folder.join("ceph.conf").display().to_string();
    tool(program, &[&["-c", &config], arguments].concat())
}

fn tool(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).env("PATH", search_path()).output();
    let output = output.with_context(|| format!("running {program} (tests/setup.sh installs Ceph)"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// How many of a kind a host has.
pub const COUNTS: [usize; 4] = [1, 10, 100, 1000];

/// What there may be many of.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    /// The collectors that tell of them.
    collectors: &'static [&'static str],
    build: fn(&Path, usize) -> Result<()>,
    /// Whether they are the kernel's own, in a namespace of the thread that makes them, and not files in a tree.
    is_live: bool,
}

const NETWORK: &[&str] = &["netdev", "netclass"];

pub const KINDS: [Kind; 5] = [
    Kind { name: "network devices of the kernel", collectors: NETWORK, build: live_devices, is_live: true },
    Kind { name: "network devices in a tree", collectors: NETWORK, build: network_devices, is_live: false },
    Kind { name: "disks", collectors: &["diskstats"], build: disks, is_live: false },
    Kind { name: "mounts", collectors: &["filesystem"], build: mounts, is_live: false },
    // node_exporter has none.
    Kind { name: "containers", collectors: &[], build: containers, is_live: false },
];

/// A tree of a host with so many of a kind.
#[derive(Debug)]
pub struct Host {
    kind: Kind,
    folder: TempDir,
}

impl Host {
    pub fn new(kind: Kind, count: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for part in ["proc/net", "proc/1", "sys/class/net", "root", "udev"] {
            fs::create_dir_all(folder.path().join(part))?;
        }
        (kind.build)(folder.path(), count)?;
        Ok(Self { kind, folder })
    }

    /// Where its files are, if it is not the one that this runs on.
    pub fn tree(&self) -> Option<&Path> {
        (!self.kind.is_live).then(|| self.folder.path())
    }

    pub fn collectors(&self) -> Vec<String> {
        self.kind.collectors.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Whether node_exporter tells of them too.
    pub fn has_peer(&self) -> bool {
        !self.kind.collectors.is_empty()
    }

    /// The same for our agent, behind its other settings.
    pub fn settings(&self) -> String {
        let collectors: String = self.kind.collectors.iter().fold(String::new(), |mut all, name| {
            let _ = write!(all, ", {name}: true");
            all
        });
        let Some(tree) = self.tree().map(Path::display) else {
            return format!(", collectors: {{default: false{collectors}}}, containers: '/nowhere'");
        };
        format!(
            ", roots: {{procfs: {tree}/proc, sysfs: {tree}/sys, rootfs: {tree}/root, udev: {tree}/udev}}, \
             collectors: {{default: false{collectors}}}, containers: '{tree}/docker'"
        )
    }
}

/// Pairs of devices, in a network namespace of this thread and of what it starts.
fn live_devices(_: &Path, count: usize) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("a network of its own takes root")?;
    mount(Some("none"), "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    // It shows the devices of the namespace that it is mounted in.
    mount(Some("none"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>).context("mounting sysfs")?;
    let mut orders = "link set lo up\n".to_owned();
    for number in 0..count.div_ceil(2) {
        let _ = writeln!(orders, "link add veth{number} up type veth peer name peer{number}\nlink set peer{number} up");
    }
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().context("running ip")?;
    ip.stdin.take().context("a pipe")?.write_all(orders.as_bytes())?;
    ensure!(ip.wait()?.success(), "ip could not make {count} devices");
    Ok(())
}

fn network_devices(tree: &Path, count: usize) -> Result<()> {
    let mut dev = String::from("Inter-|   Receive\n face |bytes\n");
    for number in 0..count {
        let name = format!("veth{number}");
        let _ = writeln!(dev, "{name}: {number}123456 2345 0 {number} 0 0 0 17 3456789 4567 0 0 0 0 0 0");
        let class = tree.join("sys/class/net").join(&name);
        fs::create_dir_all(&class)?;
        let files = [
            ("addr_assign_type", "3"),
            ("addr_len", "6"),
            ("address", "02:42:ac:11:00:02"),
            ("broadcast", "ff:ff:ff:ff:ff:ff"),
            ("carrier", "1"),
            ("carrier_changes", "2"),
            ("carrier_down_count", "1"),
            ("carrier_up_count", "1"),
            ("dev_id", "0x0"),
            ("dormant", "0"),
            ("duplex", "full"),
            ("flags", "0x1003"),
            ("ifalias", ""),
            ("ifindex", "7"),
            ("iflink", "6"),
            ("link_mode", "0"),
            ("mtu", "1500"),
            ("name_assign_type", "3"),
            ("netdev_group", "0"),
            ("operstate", "up"),
            ("proto_down", "0"),
            ("speed", "10000"),
            ("tx_queue_len", "1000"),
            ("type", "1"),
        ];
        for (file, text) in files {
            fs::write(class.join(file), format!("{text}\n"))?;
        }
    }
    Ok(fs::write(tree.join("proc/net/dev"), dev)?)
}

fn disks(tree: &Path, count: usize) -> Result<()> {
    let mut stats = String::new();
    for number in 0..count {
        let _ = writeln!(
            stats,
            "{:4} {:7} dm-{number} {number}234 5 67890 123 4567 89 101112 1314 0 1516 1718 19 0 2021 22 23 24",
            253, number
        );
    }
    Ok(fs::write(tree.join("proc/diskstats"), stats)?)
}

fn mounts(tree: &Path, count: usize) -> Result<()> {
    let (mut mounts, mut info) = (String::new(), String::new());
    for number in 0..count {
        let place = format!("/data/volume{number}");
        fs::create_dir_all(tree.join("root").join(&place[1..]))?;
        let _ = writeln!(mounts, "/dev/dm-{number} {place} ext4 rw,relatime 0 0");
        let _ = writeln!(info, "{} 1 253:{number} / {place} rw,relatime - ext4 /dev/dm-{number} rw", 30 + number);
    }
    fs::write(tree.join("proc/1/mounts"), &mounts)?;
    Ok(fs::write(tree.join("proc/1/mountinfo"), info)?)
}

/// Of a Docker Engine under control groups of version 2, each with a process, a network device and a disk.
fn containers(tree: &Path, count: usize) -> Result<()> {
    const STAT: &str =
        "anon 2000\nfile 3000\nkernel 400\nfile_mapped 500\ninactive_file 1000\npgfault 9\npgmajfault 1\n";
    const PRESSURE: &str =
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    const DEV: &str =
        "Inter-|\n face |\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 2 3 4 0 0 0 0 200 6 7 8 0 0 0 0\n";
    fs::write(tree.join("proc/stat"), "cpu  1\ncpu0 1\n")?;
    fs::write(tree.join("proc/meminfo"), "MemTotal:  1000 kB\n")?;
    for number in 0..count {
        let id = format!("{number:064x}");
        let folder = tree.join("docker/containers").join(&id);
        fs::create_dir_all(&folder)?;
        let process = 1000 + number;
        fs::write(
            folder.join("config.v2.json"),
            format!(
                r#"{{"Name":"/shop-web-{number}","Config":{{"Image":"shop:1.2","Labels":{{"com.docker.compose.project":"shop"}}}},"State":{{"Running":true,"Pid":{process},"StartedAt":"2026-11-21T08:00:00Z"}}}}"#
            ),
        )?;
        let own = tree.join("proc").join(process.to_string());
        fs::create_dir_all(own.join("net"))?;
        fs::create_dir_all(own.join("fd"))?;
        fs::write(own.join("net/dev"), DEV)?;
        fs::write(own.join("cgroup"), format!("0::/system.slice/docker-{id}.scope\n"))?;
        let group = tree.join(format!("sys/fs/cgroup/system.slice/docker-{id}.scope"));
        fs::create_dir_all(&group)?;
        let pid = format!("{process}\n");
        for (file, text) in [
            ("cgroup.procs", &pid[..]),
            ("cpu.stat", "usage_usec 2500000\nuser_usec 1500000\nsystem_usec 1000000\n"),
            ("cpu.max", "max 100000\n"),
            ("cpu.weight", "100\n"),
            ("cpu.pressure", PRESSURE),
            ("memory.current", "5000\n"),
            ("memory.peak", "6000\n"),
            ("memory.swap.current", "0\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("memory.low", "0\n"),
            ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n"),
            ("memory.stat", STAT),
            ("memory.pressure", PRESSURE),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"),
            ("io.pressure", PRESSURE),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
        ] {
            fs::write(group.join(file), text)?;
        }
    }
    Ok(())
}

use anyhow::Result;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
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
}

pub const KINDS: [Kind; 3] = [
    Kind { name: "network devices", collectors: &["netdev", "netclass"], build: network_devices },
    Kind { name: "disks", collectors: &["diskstats"], build: disks },
    Kind { name: "mounts", collectors: &["filesystem"], build: mounts },
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

    pub fn tree(&self) -> &Path {
        self.folder.path()
    }

    pub fn collectors(&self) -> Vec<String> {
        self.kind.collectors.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The same for our agent, behind its other settings.
    pub fn settings(&self) -> String {
        let tree = self.tree().display();
        let collectors: String = self.kind.collectors.iter().fold(String::new(), |mut all, name| {
            let _ = write!(all, ", {name}: true");
            all
        });
        format!(
            ", roots: {{procfs: {tree}/proc, sysfs: {tree}/sys, rootfs: {tree}/root, udev: {tree}/udev}}, \
             collectors: {{default: false{collectors}}}"
        )
    }
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

use super::command::Run;
use super::{Action, Context, Failure, Outcome, each};
use crate::boot::host::Host;
use crate::boot::userdata::growth::Growth;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Less than this behind a partition is what tables and alignment leave.
const SPARE_SECTORS: u64 = 2048 * 2;
const DEADLINE: Duration = Duration::from_secs(600);

/// Partitions grow into the free space behind them, and the root file system into its partition.
#[derive(Serialize)]
pub struct Grow {
    growth: Growth,
}

/// A partition with space behind it.
struct Room {
    disk: PathBuf,
    number: String,
    device: PathBuf,
    folder: Option<String>,
}

impl Grow {
    pub fn new(growth: &Growth) -> Self {
        Self { growth: growth.clone() }
    }

    /// Whether there is anything to do, which the kernel tells without a process.
    pub fn is_needed(&self, host: &Host) -> bool {
        self.is_allowed(host) && self.growth.devices.iter().any(|name| room(host, name).is_some())
    }

    fn is_allowed(&self, host: &Host) -> bool {
        self.growth.whatever_the_image_says || !host.path("/etc/growroot-disabled").exists()
    }
}

impl Action for Grow {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        if !self.is_allowed(context.host) {
            return Ok(Outcome::Skipped("/etc/growroot-disabled is there".into()));
        }
        let rooms: Vec<_> = self.growth.devices.iter().filter_map(|name| room(context.host, name)).collect();
        if rooms.is_empty() {
            return Ok(Outcome::Skipped("no partition has space behind it".into()));
        }
        if !self.growth.is_said && context.host.program("sfdisk").is_none() {
            let device = rooms[0].device.display();
            return Ok(Outcome::Skipped(format!(
                "{device} could grow, but there is no sfdisk: the package fdisk has it"
            )));
        }
        each(&rooms, |room| room.device.display().to_string(), |room| self.grow(context, room))?;
        Ok(Outcome::Done)
    }
}

impl Grow {
    fn grow(&self, context: &Context<'_>, room: &Room) -> Result<(), Failure> {
        let mut command = context.host.command("sfdisk");
        command.args(["--no-reread", "--no-tell-kernel", "--force", "-N", &room.number]).arg(&room.disk);
        run(context, command, Some(b",+\n".to_vec()))?;
        let mut command = context.host.command("partx");
        command.args(["--update", "--nr", &room.number]).arg(&room.disk);
        run(context, command, None)?;
        match &room.folder {
            Some(folder) if self.growth.filesystem => grow_filesystem(context, folder, &room.device),
            _ => Ok(()),
        }
    }
}

fn run(context: &Context<'_>, command: tokio::process::Command, input: Option<Vec<u8>>) -> Result<(), Failure> {
    Run { input, deadline: Some(DEADLINE), ..Run::new("growth", command) }.succeed(context)
}

fn grow_filesystem(context: &Context<'_>, folder: &str, device: &Path) -> Result<(), Failure> {
    let mounts = std::fs::read_to_string(context.host.proc("self/mounts")).unwrap_or_default();
    let kind = mounts.lines().filter_map(|line| line.split(' ').nth(1).zip(line.split(' ').nth(2)));
    let kind = kind.filter(|(place, _)| *place == folder).map(|(_, kind)| kind).next_back().unwrap_or_default();
    let (program, arguments): (_, &[&str]) = match kind {
        "ext2" | "ext3" | "ext4" => ("resize2fs", &[]),
        "xfs" => ("xfs_growfs", &[folder]),
        "btrfs" => ("btrfs", &["filesystem", "resize", "max", folder]),
        "f2fs" => ("resize.f2fs", &[]),
        _ => return Ok(()),
    };
    let mut command = context.host.command(program);
    command.args(arguments);
    if arguments.is_empty() {
        command.arg(device);
    }
    run(context, command, None)
}

/// A folder where a partition is mounted, or the partition itself, if there is free space behind it.
fn room(host: &Host, name: &str) -> Option<Room> {
    let node = if let Some(device) = name.strip_prefix("/dev/") {
        host.sys(&format!("class/block/{device}"))
    } else {
        let text = std::fs::read_to_string(host.proc("self/mountinfo")).ok()?;
        let lines = text.lines().filter(|line| line.split(' ').nth(4) == Some(name));
        let number = lines.filter_map(|line| line.split(' ').nth(2)).next_back()?.to_owned();
        host.sys(&format!("dev/block/{number}"))
    };
    let node = node.canonicalize().ok()?;
    let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let index = number(node.join("partition"))?;
    let disk = node.parent()?;
    let end = number(node.join("start"))? + number(node.join("size"))?;
    let others = std::fs::read_dir(disk).ok()?.flatten().filter_map(|entry| number(entry.path().join("start")));
    let next = others.filter(|start| *start >= end).min();
    // A GPT keeps its copy in the last 33 sectors.
    let limit = next.unwrap_or(number(disk.join("size"))?.saturating_sub(34));
    (limit > end + SPARE_SECTORS).then(|| Room {
        disk: Path::new("/dev").join(disk.file_name().unwrap_or_default()),
        number: index.to_string(),
        device: Path::new("/dev").join(node.file_name().unwrap_or_default()),
        folder: (!name.starts_with("/dev/")).then(|| name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::room;
    use crate::boot::host::Host;
    use std::path::Path;

    fn write(tree: &Path, path: &str, text: &str) {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    #[test]
    fn only_a_partition_with_space_behind_it_grows() {
        let tree = tempfile::tempdir().expect("temporary folder");
        write(
            tree.path(),
            "proc/self/mountinfo",
            "25 1 254:1 / / rw - ext4 /dev/vda1 rw\n30 25 0:20 / /run rw - tmpfs t rw\n",
        );
        write(tree.path(), "sys/devices/vda/size", "20971520\n");
        for (name, start, size) in [("vda1", "2048", "4194304"), ("vda2", "4196352", "2048")] {
            for (file, text) in [("start", start), ("size", size), ("partition", &name[3..])] {
                write(tree.path(), &format!("sys/devices/vda/{name}/{file}"), text);
            }
        }
        std::fs::create_dir_all(tree.path().join("sys/dev/block")).expect("made");
        std::os::unix::fs::symlink("../../devices/vda/vda1", tree.path().join("sys/dev/block/254:1")).expect("linked");
        let host = Host::new("/".into(), tree.path().join("proc"), tree.path().join("sys")).expect("host");
        assert!(room(&host, "/").is_none(), "the next partition begins where it ends");
        assert!(room(&host, "/run").is_none() && room(&host, "/none").is_none());
        std::fs::remove_dir_all(tree.path().join("sys/devices/vda/vda2")).expect("removed");
        let found = room(&host, "/").expect("room");
        assert_eq!((found.disk.as_path(), found.number.as_str()), (Path::new("/dev/vda"), "1"));
        write(tree.path(), "sys/devices/vda/size", "4200000\n");
        assert!(room(&host, "/").is_none(), "what is left is too little");
    }
}

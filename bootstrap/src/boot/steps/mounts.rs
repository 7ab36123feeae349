use super::command::Run;
use super::place::File;
use super::storage::{device, is_clouds_name, partition};
use super::{Action, Context, Failure, Outcome, each};
use crate::boot::userdata::mounts::{Line, Mounts, Swap};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FSTAB: &str = "/etc/fstab";
/// cloud-init's own, so that lines that it wrote are replaced and not doubled.
const MARK: &str = "comment=cloudconfig";
const DEADLINE: Duration = Duration::from_secs(120);

/// What shall be mounted, now and at each boot.
#[derive(Serialize)]
pub struct MountAll {
    mounts: Mounts,
    aliases: BTreeMap<String, String>,
}

/// A line of which everything is said.
struct Whole {
    fields: [String; 6],
}

impl MountAll {
    pub fn new(mounts: &Mounts, aliases: &BTreeMap<String, String>) -> Self {
        Self { mounts: mounts.clone(), aliases: aliases.clone() }
    }
}

impl Action for MountAll {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let mut whole = Vec::new();
        let mut missing = Vec::new();
        for (at, line) in self.mounts.lines.iter().enumerate() {
            let off =
                self.mounts.lines[at + 1..].iter().any(|later| later[0] == line[0] && later.get(1) == Some(&None));
            match self.whole(context, line) {
                Ok(Some(line)) if !off => whole.push(line),
                Ok(_) => {}
                Err(why) => missing.push(why),
            }
        }
        if self.mounts.swap.is_some() {
            whole.extend(self.mounts.swap.as_ref().map(swap_line));
        }
        write_fstab(context, &whole)?;
        if let Some(swap) = &self.mounts.swap {
            make_swap(context, swap)?;
        }
        self.mount(context, &whole)?;
        let Some(first) = missing.first() else { return Ok(Outcome::Done) };
        Err(Failure::new(
            format!("failed {} of {}: {first}", missing.len(), self.mounts.lines.len()),
            "attach the volume, or correct its device; the next boot tries again",
        ))
    }
}

fn swap_line(swap: &Swap) -> Whole {
    let path = swap.path.display().to_string();
    Whole { fields: [path, "none".into(), "swap".into(), "sw".into(), "0".into(), "0".into()] }
}

impl MountAll {
    /// Nothing for a line without a folder, and for a disk that only some clouds have.
    fn whole(&self, context: &Context<'_>, line: &Line) -> Result<Option<Whole>, String> {
        let field =
            |at: usize| line.get(at).cloned().flatten().or_else(|| self.mounts.defaults.get(at).cloned().flatten());
        let (Some(what), Some(place)) = (field(0), field(1)) else { return Ok(None) };
        let kind = field(2).unwrap_or_else(|| "auto".to_owned());
        let options = field(3).unwrap_or_else(|| "defaults,nofail".to_owned());
        let Some(what) = self.source(context, &what, &kind, &options)? else { return Ok(None) };
        let marked = if options.contains(MARK) { options } else { format!("{options},{MARK}") };
        let numbers = [field(4), field(5)].map(|number| number.unwrap_or_else(|| "0".to_owned()));
        let [frequency, pass] = numbers;
        Ok(Some(Whole { fields: [what, place, kind, marked, frequency, pass] }))
    }

    /// What stands in fstab's first column: as cloud-init has it, a disk with partitions stands for its first one.
    fn source(&self, context: &Context<'_>, name: &str, kind: &str, options: &str) -> Result<Option<String>, String> {
        let is_network = name.contains(':') && !name.starts_with('/');
        let is_virtual = ["tmpfs", "overlay", "none", "proc", "sysfs", "nfs", "nfs4", "cifs", "9p", "virtiofs", "fuse"]
            .contains(&kind)
            || options.split(',').any(|option| ["bind", "rbind", "loop"].contains(&option))
            || name == kind;
        if is_network || is_virtual || name.starts_with("//") {
            return Ok(Some(name.to_owned()));
        }
        if name.contains('=') {
            return Ok(Some(name.to_owned()));
        }
        let (base, number) = match name.rsplit_once('.') {
            Some((base, number)) if !name.starts_with('/') => {
                (base, number.parse::<u32>().ok().filter(|number| *number > 0))
            }
            _ => (name, None),
        };
        let aliased = self.aliases.get(base).map_or(base, String::as_str);
        if is_clouds_name(aliased) {
            return Ok(None);
        }
        let Some(path) = device(aliased) else { return Err(format!("{name} is no device and no alias")) };
        let first = partition(&path, number.unwrap_or(1));
        let there = |path: &PathBuf| context.host.path(path).exists();
        match number {
            _ if there(&first) => Ok(Some(first.display().to_string())),
            None if there(&path) => Ok(Some(path.display().to_string())),
            _ => Err(format!("there is no device {name}")),
        }
    }

    fn mount(&self, context: &Context<'_>, lines: &[Whole]) -> Result<(), Failure> {
        if !context.host.is_this_machine() || lines.is_empty() {
            return Ok(());
        }
        let folders = lines.iter().map(|line| line.fields[1].as_str()).filter(|place| place.starts_with('/'));
        for folder in folders.clone() {
            std::fs::create_dir_all(context.host.path(folder))
                .map_err(|e| Failure::io(format!("make {folder}"), &e))?;
        }
        let mounted = std::fs::read_to_string(context.host.proc("self/mounts")).unwrap_or_default();
        let is_mounted = |folder: &&str| mounted.lines().any(|line| line.split(' ').nth(1) == Some(*folder));
        let wanted: Vec<_> = folders.filter(|folder| !is_mounted(folder)).map(str::to_owned).collect();
        each(&wanted, Clone::clone, |folder| run(context, "mount", &[folder]))?;
        if lines.iter().any(|line| line.fields[2] == "swap") {
            run(context, "swapon", &["--all"])?;
        }
        if context.host.has_systemd() {
            // The units that systemd makes of fstab; not waited for, since the boot itself waits for this stage.
            run(context, "systemctl", &["--no-block", "daemon-reload"])?;
        }
        Ok(())
    }
}

fn run(context: &Context<'_>, program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let mut command = context.host.command(program);
    command.args(arguments);
    Run { deadline: Some(DEADLINE), ..Run::new("mounts", command) }.succeed(context)
}

/// Lines that are marked as ours or cloud-init's are replaced, those of others stay; none is doubled.
fn write_fstab(context: &Context<'_>, lines: &[Whole]) -> Result<(), Failure> {
    let before = std::fs::read(context.host.path(FSTAB)).unwrap_or_default();
    let before = String::from_utf8_lossy(&before).into_owned();
    let mut after: String =
        before.lines().filter(|line| !line.contains(MARK)).map(|line| format!("{line}\n")).collect();
    for line in lines {
        // Of a disk the image's own line counts; what is no device can be mounted in many places.
        let is_device = line.fields[0].starts_with("/dev/") || line.fields[0].contains('=');
        let place = line.fields[1].replace(' ', "\\040");
        let is_there = after.lines().any(|other| {
            let mut fields = other.split_whitespace();
            fields.next() == Some(&line.fields[0]) && (is_device || fields.next() == Some(&place))
        });
        if !is_there {
            let mut fields = line.fields.clone();
            if !fields[3].contains(MARK) {
                fields[3].push_str(&format!(",{MARK}"));
            }
            after.push_str(&format!("{}\n", fields.map(|field| field.replace(' ', "\\040")).join("\t")));
        }
    }
    File::new(FSTAB, after.as_bytes(), 0o644).place_if_changed(context).map(drop)
}

fn make_swap(context: &Context<'_>, swap: &Swap) -> Result<(), Failure> {
    let path = swap.path.display().to_string();
    let used = std::fs::read_to_string(context.host.proc("swaps")).unwrap_or_default();
    if used.lines().any(|line| line.split_whitespace().next() == Some(&path)) {
        return Ok(());
    }
    let here = context.host.path(&swap.path);
    let folder = here.parent().unwrap_or(Path::new("/")).to_owned();
    let size = size(context, swap, &folder).map_err(|e| Failure::io("see how much space there is to swap to", &e))?;
    let allocated = || -> io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&here)?;
        // Holes are refused by swapon; a file system that cannot allocate gets zeros written.
        if nix::fcntl::posix_fallocate(&file, 0, i64::try_from(size).unwrap_or(i64::MAX)).is_err() {
            let zeros = vec![0; 1 << 20];
            for _ in 0..size >> 20 {
                file.write_all(&zeros)?;
            }
        }
        file.sync_all()
    };
    allocated().map_err(|e| {
        let _ = std::fs::remove_file(&here); // half of it serves nobody
        Failure::io(format!("make a file of {} MiB to swap to", size >> 20), &e)
    })?;
    run(context, "mkswap", &[&path])
}

/// cloud-init's rule: the memory, at most 4 GiB below 16 GiB and its square root above, a quarter of what is free.
fn size(context: &Context<'_>, swap: &Swap, folder: &Path) -> io::Result<u64> {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    if let Some(size) = swap.size {
        return Ok(size / MIB * MIB);
    }
    let text = std::fs::read_to_string(context.host.proc("meminfo"))?;
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let memory = total.unwrap_or(1 << 20) * 1024;
    let stat = nix::sys::statvfs::statvfs(folder)?;
    let free = stat.blocks_free() * stat.fragment_size();
    let most = match swap.at_most {
        Some(most) => most.min(free / 10 * 9),
        None => (free / 4).min(memory * 2),
    };
    let wanted = match memory / GIB {
        0..4 => memory,
        4..16 => 4 * GIB,
        gib => gib.isqrt() * GIB,
    };
    Ok(wanted.min(most) / MIB * MIB)
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context};
    use super::MountAll;
    use crate::boot::host::Host;
    use crate::boot::userdata;

    #[test]
    fn lines_go_into_fstab_once_and_those_of_others_stay() {
        let tree = tempfile::tempdir().expect("temporary folder");
        for folder in ["etc", "dev"] {
            std::fs::create_dir(tree.path().join(folder)).expect("folder");
        }
        for name in ["vdb", "vdc", "vdc1"] {
            std::fs::write(tree.path().join("dev").join(name), "").expect("written");
        }
        let fstab = tree.path().join("etc/fstab");
        std::fs::write(&fstab, "/dev/vda1 / ext4 defaults 0 1\n/dev/old /old auto defaults,comment=cloudconfig 0 2\n")
            .expect("written");
        let host = Host::new(tree.path().to_owned(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.path().to_owned(), resumed: false };
        let config = userdata::read(
            b"#cloud-config\nmounts:\n- [vdb, /data]\n- [my.1, /my dir, xfs, noatime, '0', 0]\n- [ephemeral0, /mnt]\n- [tmpfs, /x, tmpfs]\n- [tmpfs, /y, tmpfs]\n- ['UUID=a', /u]\n- [host:/e, /n, nfs]\n- [/dev/vda1, /again]\n- [vdb, null]\n",
        )
        .config;
        let step = MountAll::new(&config.mounts, &[("my".to_owned(), "/dev/vdc".to_owned())].into());
        let failure = step.run(&context).expect_err("there is no vda1 here");
        assert!(failure.why.contains("no device /dev/vda1"), "{failure:?}");
        let after = std::fs::read_to_string(&fstab).expect("read");
        assert_eq!(
            after,
            "/dev/vda1 / ext4 defaults 0 1\n\
             /dev/vdc1\t/my\\040dir\txfs\tnoatime,comment=cloudconfig\t0\t0\n\
             tmpfs\t/x\ttmpfs\tdefaults,nofail,comment=cloudconfig\t0\t2\n\
             tmpfs\t/y\ttmpfs\tdefaults,nofail,comment=cloudconfig\t0\t2\n\
             UUID=a\t/u\tauto\tdefaults,nofail,comment=cloudconfig\t0\t2\n\
             host:/e\t/n\tnfs\tdefaults,nofail,comment=cloudconfig\t0\t2\n"
        );
        step.run(&context).expect_err("as before");
        assert_eq!(std::fs::read_to_string(&fstab).expect("read"), after);
    }
}

use super::command::Run;
use super::storage::{Signature, device, is_clouds_name, partition, partitions, signature, size};
use super::{Action, Context, Failure, Outcome, each};
use crate::boot::userdata::disks::{Disks, Filesystem, Layout, Partition, Table};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kernel and udev show a new partition at once, or are busy for a moment.
const APPEARS: Duration = Duration::from_secs(10);

/// Disks that get their partitions: once, and never one that holds anything unless that was said.
#[derive(Serialize)]
pub struct PartitionDisks {
    disks: Disks,
}

impl PartitionDisks {
    pub fn new(disks: &Disks) -> Self {
        Self { disks: Disks { filesystems: Vec::new(), ..disks.clone() } }
    }
}

impl Action for PartitionDisks {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(&self.disks.tables, |table| table.disk.clone(), |table| partition_disk(context, &self.disks, table))?;
        Ok(Outcome::Done)
    }
}

/// The device that a name stands for, which must be there; nothing for a disk that only some clouds have.
fn resolved(context: &Context<'_>, disks: &Disks, name: &str) -> Result<Option<PathBuf>, Failure> {
    let aliased = disks.aliases.get(name).map_or(name, String::as_str);
    let missing = |why: String| Failure::new(why, "attach the disk, or name another; the next boot tries again");
    if is_clouds_name(aliased) {
        log::warn!("no datasource says which disk {aliased} is: it is left out; device_aliases can name its device");
        return Ok(None);
    }
    let path = device(aliased).ok_or_else(|| missing(format!("{aliased} is no device and no alias")))?;
    let there = context.host.path(&path).exists();
    if there { Ok(Some(path)) } else { Err(missing(format!("there is no device {}", path.display()))) }
}

fn partition_disk(context: &Context<'_>, disks: &Disks, table: &Table) -> Result<(), Failure> {
    let whole = [(100, None)];
    let parts = match &table.layout {
        Layout::Nothing => return Ok(()),
        Layout::Remove => None,
        Layout::Whole => Some(&whole[..]),
        Layout::Parts(parts) => Some(&parts[..]),
    };
    let Some(disk) = resolved(context, disks, &table.disk)? else { return Ok(()) };
    let Some(parts) = parts else { return run(context, "wipefs", &["--all", "--force"], &disk, None) };
    if partitions(context.host, &disk).len() == parts.len() && !table.overwrite {
        return Ok(()); // as it was left, by this step or by the image
    }
    let found = signature(context.host, &disk)?;
    if !found.is_empty() && !table.overwrite {
        return Err(Failure::new(
            format!("{} holds something already ({}): it is not partitioned", disk.display(), described(&found)),
            "say overwrite: true if all of it may be lost",
        ));
    }
    let script = script(table.gpt, parts, size(context.host, &disk));
    run(context, "sfdisk", &["--wipe", "always", "--wipe-partitions", "always"], &disk, Some(script.into_bytes()))?;
    wait_for(context, &partition(&disk, 1))
}

fn described(found: &Signature) -> String {
    let kind = if found.kind.is_empty() { &found.table } else { &found.kind };
    if found.label.is_empty() { kind.clone() } else { format!("{kind}, label {}", found.label) }
}

/// What sfdisk reads: each partition by its share of the disk, the last one to the end. Percentages are for sfdisk 2.39
/// and later.
fn script(gpt: bool, parts: &[(u32, Option<String>)], disk_mib: u64) -> String {
    let mut script = format!("label: {}\n", if gpt { "gpt" } else { "dos" });
    let last = parts.len().saturating_sub(1);
    for (at, (percent, kind)) in parts.iter().enumerate() {
        let mib = disk_mib * u64::from(*percent) / 100;
        let size = if at == last { String::new() } else { format!("size={mib}MiB, ") };
        script.push_str(&format!("{size}type={}\n", kind.as_deref().map_or("L".to_owned(), |kind| type_of(gpt, kind))));
    }
    script
}

/// sfdisk's name of a type. cloud-init's are MBR's, or for a GPT also those of sgdisk.
fn type_of(gpt: bool, kind: &str) -> String {
    let short = kind.strip_suffix("00").filter(|_| kind.len() == 4).unwrap_or(kind);
    match (gpt, short) {
        (_, "83") => "L".to_owned(),
        (_, "82") => "S".to_owned(),
        (true, "8e" | "8E") => "V".to_owned(),
        (true, "fd" | "FD") => "R".to_owned(),
        (true, "ef" | "EF" | "c" | "0c") => "U".to_owned(),
        _ => short.to_owned(),
    }
}

fn run(
    context: &Context<'_>,
    program: &str,
    arguments: &[&str],
    disk: &Path,
    input: Option<Vec<u8>>,
) -> Result<(), Failure> {
    let mut command = context.host.command(program);
    command.args(arguments).arg(disk);
    Run { input, deadline: Some(Duration::from_secs(120)), ..Run::new("disks", command) }.succeed(context)
}

fn wait_for(context: &Context<'_>, path: &Path) -> Result<(), Failure> {
    let until = Instant::now() + APPEARS;
    while !context.host.path(path).exists() {
        if Instant::now() > until {
            let why = format!("{} does not appear", path.display());
            return Err(Failure::new(why, "see what udevadm settle and dmesg say; the next boot tries again"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// File systems that shall be there: made once, and never over one that is there unless that was said.
#[derive(Serialize)]
pub struct MakeFilesystems {
    disks: Disks,
}

impl MakeFilesystems {
    pub fn new(disks: &Disks) -> Self {
        Self { disks: Disks { tables: Vec::new(), ..disks.clone() } }
    }
}

impl Action for MakeFilesystems {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let name = |fs: &Filesystem| format!("{} {}", fs.kind.as_deref().unwrap_or("file system"), fs.device);
        each(&self.disks.filesystems, name, |fs| self.make(context, fs))?;
        Ok(Outcome::Done)
    }
}

impl MakeFilesystems {
    fn make(&self, context: &Context<'_>, fs: &Filesystem) -> Result<(), Failure> {
        let Some(disk) = resolved(context, &self.disks, &fs.device)? else { return Ok(()) };
        let Some(device) = target(context, fs, &disk)? else { return Ok(()) };
        wait_for(context, &device)?;
        let found = signature(context.host, &device)?;
        let is_same = fs.kind.as_ref() == Some(&found.kind) && fs.label.as_deref().unwrap_or_default() == found.label;
        if is_same && !fs.overwrite {
            return Ok(());
        }
        let may_go = fs.overwrite || fs.replace.as_ref() == Some(&found.kind);
        if !found.is_empty() && !may_go {
            return Err(Failure::new(
                format!("{} holds something already ({}): no file system is made", device.display(), described(&found)),
                "say overwrite: true if all of it may be lost",
            ));
        }
        if fs.command.is_empty() { self.mkfs(context, fs, &device) } else { own_command(context, fs, &device) }
    }

    fn mkfs(&self, context: &Context<'_>, fs: &Filesystem, device: &Path) -> Result<(), Failure> {
        let kind = fs.kind.as_deref().unwrap_or_default();
        let (program, label, force) = match kind {
            "swap" => ("mkswap".to_owned(), "-L", "-f"),
            "vfat" | "fat" | "msdos" => (format!("mkfs.{kind}"), "-n", "-I"),
            "xfs" | "btrfs" | "f2fs" | "reiserfs" => {
                (format!("mkfs.{kind}"), if kind == "f2fs" { "-l" } else { "-L" }, "-f")
            }
            _ => (format!("mkfs.{kind}"), "-L", "-F"),
        };
        let mut command = context.host.command(&program);
        if let Some(name) = &fs.label {
            command.args([label, name]);
        }
        // What may be written over was decided above: mkfs shall not ask.
        command.arg(force).args(&fs.options).arg(device);
        Run { deadline: Some(Duration::from_secs(1800)), ..Run::new("filesystems", command) }.succeed(context)
    }
}

/// The device to look at; nothing where one of a device's partitions is as wanted already.
fn target(context: &Context<'_>, fs: &Filesystem, disk: &Path) -> Result<Option<PathBuf>, Failure> {
    match fs.partition {
        Partition::Unsaid | Partition::Device => return Ok(Some(disk.to_owned())),
        Partition::Number(number) => return Ok(Some(partition(disk, number))),
        Partition::Auto | Partition::Any => {}
    }
    let mut candidates = partitions(context.host, disk);
    let has_parts = !candidates.is_empty();
    if !has_parts {
        candidates.push(disk.to_owned());
    }
    let mut free = None;
    for candidate in candidates {
        let found = signature(context.host, &candidate)?;
        let label_fits = fs.partition == Partition::Any || fs.label.as_deref().unwrap_or_default() == found.label;
        if fs.kind.as_ref() == Some(&found.kind) && label_fits && !fs.overwrite {
            return Ok(None);
        }
        let usable = found.is_empty() || fs.overwrite || fs.replace.as_ref() == Some(&found.kind);
        free = free.or(usable.then_some(candidate));
    }
    free.map(Some).ok_or_else(|| {
        let why = format!("{} has neither such a file system nor a free partition", disk.display());
        Failure::new(why, "name the partition, or say overwrite: true")
    })
}

/// `cmd:` with cloud-init's words `%(device)s`, `%(filesystem)s`, `%(label)s`.
fn own_command(context: &Context<'_>, fs: &Filesystem, device: &Path) -> Result<(), Failure> {
    let filled = |word: &String| {
        let label = fs.label.as_deref().unwrap_or_default();
        let text = word.replace("%(device)s", &device.display().to_string()).replace("%(label)s", label);
        text.replace("%(filesystem)s", fs.kind.as_deref().unwrap_or_default())
    };
    let words: Vec<_> = fs.command.iter().map(filled).collect();
    let command = match &words[..] {
        [line] => {
            let mut command = context.host.command("/bin/sh");
            command.args(["-c", line]);
            command
        }
        words => {
            let mut command = context.host.command(words.first().map_or("", String::as_str));
            command.args(&words[1..]);
            command
        }
    };
    Run { deadline: Some(Duration::from_secs(1800)), ..Run::new("filesystems", command) }.succeed(context)
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context};
    use super::{MakeFilesystems, PartitionDisks, run, script, size};
    use crate::boot::host::Host;
    use crate::boot::steps::storage::signature;
    use crate::boot::userdata;
    use std::path::Path;
    use std::process::Command;

    /// A disk in a file, for as long as it is held.
    struct Loop {
        device: String,
        _file: tempfile::NamedTempFile,
    }

    impl Loop {
        fn new() -> Self {
            let file = tempfile::NamedTempFile::new().expect("temporary file");
            file.as_file().set_len(48 << 20).expect("sized");
            let output = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output().expect("losetup");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Self { device: String::from_utf8_lossy(&output.stdout).trim().to_owned(), _file: file }
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            let _ = Command::new("losetup").args(["--detach", &self.device]).status();
        }
    }

    #[test]
    fn a_disk_is_partitioned_and_a_file_system_made_once_and_over_nothing_that_is_there() {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            return; // nobody else can make a disk of a file
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.path().to_owned(), resumed: false };
        let disk = Loop::new();
        let config = |text: &str| {
            let text = format!("#cloud-config\n{}\n", text.replace("DISK", &disk.device));
            userdata::read(text.as_bytes()).config.disks
        };
        let make = |text: &str| MakeFilesystems::new(&config(text)).run(&context);
        let uuid = || signature(&host, Path::new(&disk.device)).expect("looked at").uuid;
        make("fs_setup: [{device: DISK, filesystem: ext4, label: data}]").expect("made");
        let first = uuid();
        make("fs_setup: [{device: DISK, filesystem: ext4, label: data}]").expect("it is there");
        make("fs_setup: [{device: DISK, filesystem: ext4, label: data, partition: auto}]").expect("it is there");
        let refused = make("fs_setup: [{device: DISK, filesystem: xfs}]").expect_err("refused");
        assert!(refused.why.contains("holds something already (ext4, label data)"), "{refused:?}");
        assert_eq!(uuid(), first);
        let table = config("disk_setup: {DISK: {table_type: gpt, layout: [50, 50]}}");
        let refused = PartitionDisks::new(&table).run(&context).expect_err("refused");
        assert!(refused.why.contains("holds something already"), "{refused:?}");
        make("fs_setup: [{device: DISK, filesystem: swap, overwrite: true}]").expect("made anew");
        let input = script(true, &[(50, None), (50, None)], size(&host, Path::new(&disk.device)));
        run(&context, "sfdisk", &["--no-act", "--force"], Path::new(&disk.device), Some(input.into_bytes()))
            .expect("sfdisk understands it");
        assert_eq!(signature(&host, Path::new(&disk.device)).expect("looked at").kind, "swap");
        make("fs_setup: [{device: ephemeral0, filesystem: ext4}]").expect("only some clouds have it");
        let missing = make("fs_setup: [{device: vdzz, filesystem: ext4}]").expect_err("refused");
        assert!(missing.why.contains("there is no device"), "{missing:?}");
    }

    #[test]
    fn partitions_are_said_as_sfdisk_reads_them() {
        assert_eq!(script(false, &[(100, None)], 100), "label: dos\ntype=L\n");
        let parts = [(33, None), (33, Some("82".to_owned())), (34, Some("8e00".to_owned()))];
        assert_eq!(script(true, &parts, 1000), "label: gpt\nsize=330MiB, type=L\nsize=330MiB, type=S\ntype=V\n");
        assert_eq!(script(false, &parts[2..], 1000), "label: dos\ntype=8e\n");
    }
}

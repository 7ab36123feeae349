use super::Findings;
use super::values::{Flag, Text};
use hostwright_core::config::section::Section;
use hostwright_core::yaml::{Entry, Node, Scalar};
use serde::Serialize;
use std::collections::BTreeMap;

/// `device_aliases:`, `disk_setup:`, `fs_setup:`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disks {
    /// Names for devices.
    pub aliases: BTreeMap<String, String>,
    /// Disks to partition.
    pub tables: Vec<Table>,
    /// File systems to make.
    pub filesystems: Vec<Filesystem>,
}

/// A disk with its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The disk or its alias.
    pub disk: String,
    /// Whether its table is a GPT; else the older one.
    pub gpt: bool,
    /// What shall be on it.
    pub layout: Layout,
    /// Whether what is on it counts for nothing.
    pub overwrite: bool,
}

/// `layout:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Layout {
    /// `false`: nothing is done.
    Nothing,
    /// `true`: one partition over the whole disk.
    Whole,
    /// `remove`: no table.
    Remove,
    /// Partitions, each with its percentage of the disk and its type.
    Parts(Vec<(u32, Option<String>)>),
}

/// A file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filesystem {
    /// The device or its alias, without a partition.
    pub device: String,
    /// Which partition.
    pub partition: Partition,
    /// `ext4` and the like.
    pub kind: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Whether what is there counts for nothing.
    pub overwrite: bool,
    /// A kind of file system that may be written over.
    pub replace: Option<String>,
    /// Further arguments of mkfs.
    pub options: Vec<String>,
    /// A command in place of mkfs.
    pub command: Vec<String>,
}

/// `partition:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Partition {
    /// The device itself, where nothing was said.
    Unsaid,
    /// `none`: the device itself, whatever is there.
    Device,
    /// `auto`: one that has the type and label, else the first free.
    Auto,
    /// `any`: one that has the type, else the first free.
    Any,
    /// By its number.
    Number(u32),
}

impl Disks {
    /// Reads the top-level keys.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Self {
        let mut disks = Self::default();
        if let Some(node) = root.node("device_aliases") {
            for entry in entries(node, "device_aliases", findings) {
                match entry.value.text() {
                    Some(text) => drop(disks.aliases.insert(entry.key.clone(), text.to_owned())),
                    None => {
                        findings.error(
                            entry.value.place,
                            "device_aliases",
                            "expected a device such as /dev/vdb".into(),
                        );
                    }
                }
            }
        }
        if let Some(node) = root.node("disk_setup") {
            for entry in entries(node, "disk_setup", findings) {
                let path = format!("disk_setup.{}", entry.key);
                disks.tables.extend(findings.whole(&entry.value, &path, |section, _| table(section, &entry.key)));
            }
        }
        if let Some(node) = root.node("fs_setup") {
            match node.sequence() {
                Some(items) => {
                    let read = |item| findings.whole(item, "fs_setup", |section, _| filesystem(section));
                    disks.filesystems.extend(items.iter().filter_map(read));
                }
                None => findings.error(node.place, "fs_setup", format!("expected a list, found {}", node.kind())),
            }
        }
        disks
    }
}

fn entries<'n>(node: &'n Node, key: &str, findings: &mut Findings) -> &'n [Entry] {
    match node.mapping() {
        Some(mapping) => &mapping.entries,
        None => {
            findings.error(node.place, key, format!("expected a mapping, found {}", node.kind()));
            &[]
        }
    }
}

fn table(mut section: Section<'_>, disk: &str) -> Option<Table> {
    let kind = section.or("table_type", Text("mbr".into())).0.to_ascii_lowercase();
    if !["mbr", "gpt", "dos"].contains(&kind.as_str()) {
        section.problem_with("table_type", &format!("expected mbr or gpt, found {kind:?}"));
    }
    let layout = section.node("layout").map(layout).unwrap_or(Some(Layout::Nothing));
    if layout.is_none() {
        section.problem_with("layout", "expected true, false, remove, or a list of percentages such as [33, [66, 82]]");
    }
    let overwrite = section.or("overwrite", Flag(false)).0;
    section.finish();
    Some(Table { disk: disk.to_owned(), gpt: kind == "gpt", layout: layout?, overwrite })
}

fn layout(node: &Node) -> Option<Layout> {
    if let Some(items) = node.sequence() {
        let parts: Vec<_> = items.iter().map(part).collect::<Option<_>>()?;
        let whole: u32 = parts.iter().map(|(percent, _)| percent).sum();
        return (!parts.is_empty() && whole <= 100).then_some(Layout::Parts(parts));
    }
    match node.scalar()? {
        Scalar::Bool(true) => Some(Layout::Whole),
        Scalar::Bool(false) => Some(Layout::Nothing),
        Scalar::String(text) if text == "remove" => Some(Layout::Remove),
        Scalar::String(text) if text.eq_ignore_ascii_case("true") => Some(Layout::Whole),
        Scalar::String(text) if text.eq_ignore_ascii_case("false") => Some(Layout::Nothing),
        _ => None,
    }
}

fn part(node: &Node) -> Option<(u32, Option<String>)> {
    let percent = |node: &Node| node.text()?.parse().ok().filter(|percent| (1..=100).contains(percent));
    match node.sequence() {
        Some([size, kind]) => {
            let kind = kind.text()?;
            let fits = kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !kind.is_empty();
            Some((percent(size)?, Some(kind.to_owned()).filter(|_| fits)?.into()))
        }
        Some(_) => None,
        None => Some((percent(node)?, None)),
    }
}

fn filesystem(mut section: Section<'_>) -> Option<Filesystem> {
    let device = section.required::<String>("device");
    let mut partition = section.node("partition").map_or(Some(Partition::Unsaid), partition);
    if partition.is_none() {
        section.problem_with("partition", "expected auto, any, none or a number");
    }
    // `alias.1` names a partition of it.
    let (device, number) = match device {
        Some(device) if !device.starts_with("/dev/") => match device.rsplit_once('.') {
            Some((name, number)) => (Some(name.to_owned()), number.parse().ok()),
            None => (Some(device), None),
        },
        Some(device) => match device.rsplit_once('.') {
            Some((name, number)) if number.parse::<u32>().is_ok() => (Some(name.to_owned()), number.parse().ok()),
            _ => (Some(device), None),
        },
        None => (None, None),
    };
    if let Some(number) = number.filter(|number| *number > 0) {
        partition = Some(Partition::Number(number));
    }
    let filesystem = Filesystem {
        device: device.unwrap_or_default(),
        partition: partition.unwrap_or(Partition::Unsaid),
        kind: section.optional("filesystem"),
        label: section.optional::<Text>("label").map(|text| text.0).filter(|text| !text.is_empty() && text != "None"),
        overwrite: section.or("overwrite", Flag(false)).0,
        replace: section.optional::<Text>("replace_fs").map(|text| text.0).filter(|text| !text.is_empty()),
        options: words(&mut section, "extra_opts"),
        command: words(&mut section, "cmd"),
    };
    if filesystem.kind.is_none() && filesystem.command.is_empty() {
        section.problem(section.place(), "the key \"filesystem\" is missing; it takes a type such as ext4");
    }
    if filesystem.kind.as_ref().is_some_and(|kind| !kind.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)))
    {
        section.problem_with("filesystem", "expected a type such as ext4");
    }
    section.finish();
    (!filesystem.device.is_empty()).then_some(filesystem)
}

fn partition(node: &Node) -> Option<Partition> {
    match node.text()? {
        "auto" => Some(Partition::Auto),
        "any" => Some(Partition::Any),
        "none" | "None" => Some(Partition::Device),
        text => text.parse().ok().filter(|number| *number > 0).map(Partition::Number),
    }
}

/// A list, or one text: a command then is for the shell, and options are split at spaces.
fn words(section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    let Some(node) = section.node(key) else { return Vec::new() };
    match (node.sequence(), node.text()) {
        (None, Some(text)) if key == "cmd" => vec![text.to_owned()],
        (None, Some(text)) => text.split_whitespace().map(str::to_owned).collect(),
        _ => section.list(key).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::{Layout, Partition};

    #[test]
    fn disks_and_file_systems_are_read_in_every_form() {
        let user_data = read(
            b"#cloud-config\ndevice_aliases: {my: /dev/sdb}\ndisk_setup:\n  my: {table_type: gpt, layout: [50, [50, 82]], overwrite: true}\n  /dev/sdc: {layout: true}\n  /dev/sdd: {table_type: mbr, layout: remove}\nfs_setup:\n- {label: fs1, filesystem: ext4, device: my.1, cmd: 'mkfs -t %(filesystem)s %(device)s'}\n- {label: , device: /dev/sdc, partition: auto, filesystem: xfs, replace_fs: ntfs, extra_opts: [-E, x]}\n- {device: /dev/sdd, partition: 2, filesystem: swap}\n",
        );
        assert!(user_data.findings.errors.is_empty(), "{:?}", user_data.findings.errors);
        let disks = user_data.config.disks;
        assert_eq!(disks.tables[0].layout, Layout::Parts(vec![(50, None), (50, Some("82".into()))]));
        assert_eq!((disks.tables[1].layout.clone(), disks.tables[1].gpt), (Layout::Whole, false));
        let parts: Vec<_> = disks.filesystems.iter().map(|fs| (fs.device.as_str(), fs.partition.clone())).collect();
        assert_eq!(
            parts,
            [("my", Partition::Number(1)), ("/dev/sdc", Partition::Auto), ("/dev/sdd", Partition::Number(2))]
        );
        let wrong = read(b"#cloud-config\ndisk_setup: {a: {layout: [80, 40]}, b: {table_type: zip}}\nfs_setup: [{device: x}, {filesystem: ext4}, {device: a, filesystem: ext4, partition: last}]\n");
        assert_eq!(wrong.findings.errors.len(), 5, "{:?}", wrong.findings.errors);
    }
}

//! `node_mountstats_nfs_*`: in comes `/proc/self/mountstats` with the addresses of `mountinfo`, out goes what each mount
//! of NFS did, by mount, transport and operation. Rendered labels are kept from scrape to scrape.

/// The text of the kernel.
mod parse;
/// What is told.
mod tables;

use super::kernel_file::Text;
use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape};
use crate::encode::{Encoder, Family};
use parse::Mount;
use tables::{OF_MOUNTS, OF_OPERATIONS, OF_TRANSPORTS, Told};

/// What this host's mounts of NFS did.
pub struct Mountstats {
    mountstats: KernelFile,
    mountinfo: KernelFile,
    mounts: Group,
    transports: Group,
    operations: Group,
    key: Vec<u8>,
}

/// Families with the same labels.
struct Group {
    families: Vec<(usize, Family, f64)>,
    rows: Rows<Vec<u64>>,
}

impl Group {
    fn new(table: &[Told]) -> Self {
        let family = |(at, name, help): &Told| {
            let name = format!("node_mountstats_nfs_{name}");
            let family =
                if name.ends_with("_total") { Family::counter(&name, help) } else { Family::gauge(&name, help) };
            // The kernel counts operations' times in milliseconds.
            let unit = if name.contains("_operations_") && name.contains("_seconds") { 1000.0 } else { 1.0 };
            (*at, family, unit)
        };
        Self { families: table.iter().map(family).collect(), rows: Rows::default() }
    }

    /// A row of this mount with what is told of it.
    fn row(&mut self, key: &mut Vec<u8>, labels: &[(&str, &[u8])], values: &[u64]) {
        key.clear();
        for (_, value) in labels {
            key.extend_from_slice(value);
            key.push(0);
        }
        let row = self.rows.row_with(key, |rendered| rendered.set(labels));
        row.clear();
        row.extend_from_slice(values);
    }

    fn write(&self, out: &mut Encoder) {
        for (at, family, unit) in &self.families {
            let mut samples = out.family(family);
            for row in self.rows.iter() {
                samples.with(&row.labels, row.values[*at] as f64 / unit);
            }
        }
    }
}

impl Mountstats {
    pub fn new(roots: &Roots) -> Self {
        let file = |name: &str| KernelFile::new(roots.procfs.join("self").join(name));
        Self {
            mountstats: file("mountstats"),
            mountinfo: file("mountinfo"),
            mounts: Group::new(&OF_MOUNTS),
            transports: Group::new(&OF_TRANSPORTS),
            operations: Group::new(&OF_OPERATIONS),
            key: Vec::new(),
        }
    }
}

/// The server's address among the options of the mount at this place; both files have all mounts in the same order.
fn address(mountinfo: Text<'_>, place: usize) -> &[u8] {
    let line = mountinfo.lines().nth(place).unwrap_or_default();
    let options = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(b"addr=")).unwrap_or_default()
}

impl Collector for Mountstats {
    fn name(&self) -> &'static str {
        "mountstats"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let (text, mountinfo) = (self.mountstats.read()?, self.mountinfo.read()?);
        let groups = [&mut self.mounts, &mut self.transports, &mut self.operations];
        let [mounts, transports, operations] = groups.map(|group| {
            group.rows.begin();
            group
        });
        let key = &mut self.key;
        let mut seen = Vec::new();
        parse::parse(text, |mount: &Mount<'_>| {
            let address = address(mountinfo, mount.place);
            for (protocol, _) in &mount.transports {
                // One mounted in several places is told once.
                if seen.contains(&(mount.device, *protocol, address)) {
                    break;
                }
                seen.push((mount.device, *protocol, address));
                let labels = [("export", mount.device), ("mountaddr", address), ("protocol", protocol)];
                mounts.row(key, &labels, &mount.numbers);
                for (at, (_, numbers)) in mount.transports.iter().enumerate() {
                    let at = at.to_string();
                    transports.row(key, &[labels[0], labels[1], labels[2], ("transport", at.as_bytes())], numbers);
                }
                for (name, numbers) in &mount.operations {
                    operations.row(key, &[labels[0], labels[1], labels[2], ("operation", name)], numbers);
                }
            }
        })?;
        [&self.mounts, &self.transports, &self.operations].iter().for_each(|group| group.write(scrape.out));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Mountstats;
    use crate::sample::testing::{assert_has, samples, tree};

    const STATS: &str = "device a:/x mounted on /x with fstype nfs4 statvers=1.1\n\tage:\t13968\n\
                         \tbytes:\t1 2 3 4 5 6 7 8\n\txprt:\ttcp 832 0 1 0 11 6428 6427 0 12154 0 24 26 5726\n\
                         \tper-op statistics\n\tREAD: 1298 1299 0 207680 1210292152 6 79386 79407\n\n";

    #[test]
    fn a_mount_is_told_once_with_its_transports_and_operations() {
        let mountinfo = "1 0 0:1 / /x rw - nfs4 a:/x rw,vers=4.0,addr=192.0.2.1,clientaddr=192.0.2.2\n";
        let (stats, info) = (STATS.repeat(2), mountinfo.repeat(2));
        let (_folder, roots) = tree(&[("proc/self/mountstats", &stats), ("proc/self/mountinfo", &info)]);
        let mut mountstats = Mountstats::new(&roots);
        let lines = samples(&mut mountstats, &roots);
        let labels = r#"export="a:/x",mountaddr="192.0.2.1",protocol="tcp""#;
        assert_has(
            &lines,
            &[
                &format!("node_mountstats_nfs_age_seconds_total{{{labels}}} 13968"),
                &format!("node_mountstats_nfs_write_pages_total{{{labels}}} 8"),
                &format!("node_mountstats_nfs_event_vfs_open_total{{{labels}}} 0"),
                &format!("node_mountstats_nfs_transport_maximum_rpc_slots{{{labels},transport=\"0\"}} 24"),
                &format!(
                    "node_mountstats_nfs_operations_response_time_seconds_total{{{labels},operation=\"READ\"}} 79.386"
                ),
            ],
        );
        assert_eq!(lines.len(), 35 + 10 + 8);
        assert_eq!(samples(&mut mountstats, &roots), lines, "the second time, with what is kept");
    }
}

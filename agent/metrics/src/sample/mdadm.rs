use super::mdraid::{Mdraids, Raid};
use super::mdstat::{self, Activity, Array};
use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape};
use crate::encode::{Encoder, Family, Labels};

/// What a state of an array is called, in the order of [`Activity`].
const STATES: [&str; 5] = ["active", "inactive", "recovering", "resync", "check"];

/// Software RAID, from `/proc/mdstat` and `/sys/block/md*/md`.
pub struct Mdadm {
    mdstat: KernelFile,
    mdraids: Mdraids,
    state: Family,
    disks: Family,
    required: Family,
    blocks: Family,
    synced: Family,
    raid_disks: Family,
    degraded: Family,
    arrays: Rows<Known>,
    raids: Rows<Raid>,
}

/// An array, with labels that say more than its name.
#[derive(Default)]
struct Known {
    array: Array,
    states: [Labels; STATES.len()],
    disks: [Labels; 3],
}

impl Mdadm {
    pub fn new(roots: &Roots) -> Self {
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_md_{name}"), help);
        Self {
            mdstat: KernelFile::new(roots.procfs.join("mdstat")),
            mdraids: Mdraids::new(roots.sysfs.join("block")),
            state: gauge("state", "Indicates the state of md-device."),
            disks: gauge("disks", "Number of active/failed/spare disks of device."),
            required: gauge("disks_required", "Total number of disks of device."),
            blocks: gauge("blocks", "Total number of blocks on device."),
            synced: gauge("blocks_synced", "Number of blocks synced on device."),
            raid_disks: gauge("raid_disks", "Number of raid disks on device."),
            degraded: gauge("degraded", "Number of degraded disks on device."),
            arrays: Rows::default(),
            raids: Rows::default(),
        }
    }

    fn read_arrays(&mut self) -> Result<(), CollectError> {
        let text = self.mdstat.read()?;
        self.arrays.begin();
        let arrays = &mut self.arrays;
        mdstat::parse(text, |name, array| {
            let known = arrays.row("device", name);
            if known.disks[0] == Labels::default() {
                let state = |state: &str| Labels::new(&[("device", name), ("state", state.as_bytes())]);
                known.states = STATES.map(state);
                known.disks = ["active", "failed", "spare"].map(state);
            }
            known.array = array;
        })
    }

    fn write_arrays(&self, out: &mut Encoder) {
        let mut samples = out.family(&self.state);
        for row in self.arrays.iter() {
            let activity = row.values.array.activity;
            for (state, labels) in Activity::TOLD.into_iter().zip(&row.values.states) {
                samples.with(labels, activity == state);
            }
        }
        let mut samples = out.family(&self.disks);
        for row in self.arrays.iter() {
            let array = &row.values.array;
            let counts = [array.disks_active, array.disks_failed, array.disks_spare];
            row.values.disks.iter().zip(counts).for_each(|(labels, count)| samples.with(labels, count));
        }
        self.write_each(out, &self.required, |array| array.disks_required);
        self.write_each(out, &self.blocks, |array| array.blocks);
        self.write_each(out, &self.synced, |array| array.blocks_synced);
    }

    fn write_each(&self, out: &mut Encoder, family: &Family, value: fn(&Array) -> u64) {
        let mut samples = out.family(family);
        self.arrays.iter().for_each(|row| samples.with(&row.labels, value(&row.values.array)));
    }

    fn write_raids(&self, out: &mut Encoder) {
        let mut samples = out.family(&self.raid_disks);
        for row in self.raids.iter() {
            if let Some(disks) = row.values.disks {
                samples.with(&row.labels, disks);
            }
        }
        let mut samples = out.family(&self.degraded);
        self.raids.iter().for_each(|row| samples.with(&row.labels, row.values.degraded));
    }
}

impl Collector for Mdadm {
    fn name(&self) -> &'static str {
        "mdadm"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.read_arrays()?;
        self.write_arrays(scrape.out);
        self.raids.begin();
        let raids = &mut self.raids;
        scrape.failed = self.mdraids.read(|name, raid| *raids.row("device", name) = raid).err();
        self.write_raids(scrape.out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Mdadm;
    use crate::sample::CollectError;
    use crate::sample::testing::{assert_has, collect, samples, tree};

    const MDSTAT: &str = "Personalities : [raid1]\nmd3 : active raid1 sdb1[1] sda1[0]\n      \
                          248896 blocks [2/2] [UU]\n      \nunused devices: <none>\n";

    #[test]
    fn arrays_have_their_state_disks_and_blocks() {
        let raid = [
            ("proc/mdstat", MDSTAT),
            ("sys/block/md3/md/level", "raid1\n"),
            ("sys/block/md3/md/raid_disks", "2\n"),
            ("sys/block/md3/md/degraded", "1\n"),
            ("sys/block/sda/size", "1\n"),
        ];
        let (_folder, roots) = tree(&raid);
        let mut mdadm = Mdadm::new(&roots);
        let lines = samples(&mut mdadm, &roots);
        assert_has(
            &lines,
            &[
                r#"node_md_state{device="md3",state="active"} 1"#,
                r#"node_md_state{device="md3",state="check"} 0"#,
                r#"node_md_disks{device="md3",state="active"} 2"#,
                r#"node_md_disks{device="md3",state="spare"} 0"#,
                r#"node_md_disks_required{device="md3"} 2"#,
                r#"node_md_blocks{device="md3"} 248896"#,
                r#"node_md_blocks_synced{device="md3"} 248896"#,
                r#"node_md_raid_disks{device="md3"} 2"#,
                r#"node_md_degraded{device="md3"} 1"#,
            ],
        );
        assert_eq!(lines.len(), 5 + 3 + 3 + 2);
        assert_eq!(samples(&mut mdadm, &roots), lines, "the second time, with what is kept");
    }

    #[test]
    fn an_array_that_is_gone_is_gone_from_the_metrics_and_a_kernel_without_raid_has_no_data() {
        let (_folder, roots) = tree(&[("proc/mdstat", MDSTAT)]);
        let mut mdadm = Mdadm::new(&roots);
        assert_eq!(samples(&mut mdadm, &roots).len(), 5 + 3 + 3);
        std::fs::write(roots.procfs.join("mdstat"), "Personalities : \nunused devices: <none>\n").expect("written");
        assert_eq!(samples(&mut mdadm, &roots).len(), 0);
        let (_folder, roots) = tree(&[]);
        assert!(matches!(collect(&mut Mdadm::new(&roots), &roots), Err(CollectError::NoData { .. })));
    }
}

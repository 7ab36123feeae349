use super::rows::Rows;
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::Family;

/// `/proc/cgroups`: how many control groups each controller has.
pub struct Cgroups {
    file: KernelFile,
    count: Family,
    enabled: Family,
    rows: Rows<[u64; 2]>,
}

impl Cgroups {
    pub fn new(roots: &Roots) -> Self {
        // The original explains both with the same words.
        let gauge = |name: &str| Family::gauge(name, "Current cgroup number of the subsystem.");
        Self {
            file: KernelFile::new(roots.procfs.join("cgroups")),
            count: gauge("node_cgroups_cgroups"),
            enabled: gauge("node_cgroups_enabled"),
            rows: Rows::default(),
        }
    }
}

/// `cpuset  3  2  1` → controller, control groups, enabled.
fn parse(line: &[u8]) -> Option<(&[u8], [u64; 2])> {
    let mut words = words(line);
    let controller = words.next()?;
    let mut words = words.map_while(number).skip(1);
    Some((controller, [words.next()?, words.next()?]))
}

impl Collector for Cgroups {
    fn name(&self) -> &'static str {
        "cgroups"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.rows.begin();
        for line in text.lines().filter(|line| !line.starts_with(b"#")) {
            let (name, values) = parse(line).ok_or_else(|| text.malformed("a controller with three numbers", line))?;
            *self.rows.row("subsys_name", name) = values;
        }
        for (family, at) in [(&self.count, 0), (&self.enabled, 1)] {
            let mut samples = scrape.out.family(family);
            self.rows.iter().for_each(|row| samples.with(&row.labels, row.values[at]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Cgroups;
    use crate::sample::testing::{collect, samples, tree};

    #[test]
    fn control_groups_are_counted_by_controller() {
        let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t2\t1\nmemory\t9\t74\t0\n";
        let (_folder, roots) = tree(&[("proc/cgroups", text)]);
        let mut cgroups = Cgroups::new(&roots);
        let want = [
            r#"node_cgroups_cgroups{subsys_name="cpuset"} 2"#,
            r#"node_cgroups_cgroups{subsys_name="memory"} 74"#,
            r#"node_cgroups_enabled{subsys_name="cpuset"} 1"#,
            r#"node_cgroups_enabled{subsys_name="memory"} 0"#,
        ];
        assert_eq!(samples(&mut cgroups, &roots), want);
        std::fs::write(roots.procfs.join("cgroups"), "cpuset 1 x 1\n").expect("written");
        assert!(collect(&mut cgroups, &roots).is_err());
    }
}

use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Unit, required, write};
use super::{CollectError, Collector, KernelFile, Roots, Scrape, number};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::cpu as options;
use std::path::Path;

/// What every scaling driver has beside numbers. The original does without all CPUs where one of them lacks.
const REQUIRED: [&str; 3] = ["scaling_driver", "related_cpus", "scaling_setspeed"];
const KILOHERTZ: Unit = Unit::Times(1000.0);

/// How fast the CPUs run, and may run.
pub struct Cpufreq {
    cpus: Devices<Cpu>,
    offline: KernelFile,
    columns: Vec<Column>,
    governor: Family,
    page: Page,
}

struct Cpu {
    name: Vec<u8>,
    folder: Attribute,
    row: Row,
    required: [Attribute; 3],
    available: Attribute,
    governor: Attribute,
    /// What the last two said when the labels were rendered.
    said: (Vec<u8>, Vec<u8>),
    /// Each governor, and whether it is the one that governs.
    governors: Vec<(Labels, bool)>,
    scales: bool,
}

impl Cpufreq {
    pub fn new(roots: &Roots, options: &options::Cpu) -> Self {
        let cpus = roots.sysfs.join("devices/system/cpu");
        let column = |file, name: &str, help: &str| {
            let family = Family::gauge(&format!("node_cpu_{name}_hertz"), help);
            Column { file, family, unit: KILOHERTZ }
        };
        let mut columns = vec![
            column("cpuinfo_max_freq", "frequency_max", "Maximum CPU thread frequency in hertz."),
            column("cpuinfo_min_freq", "frequency_min", "Minimum CPU thread frequency in hertz."),
            column("scaling_cur_freq", "scaling_frequency", "Current scaled CPU thread frequency in hertz."),
            column("scaling_max_freq", "scaling_frequency_max", "Maximum scaled CPU thread frequency in hertz."),
            column("scaling_min_freq", "scaling_frequency_min", "Minimum scaled CPU thread frequency in hertz."),
        ];
        // The collector `cpu` writes a family of that name where it tells of the CPUs' models.
        if !options.info {
            columns.push(column("cpuinfo_cur_freq", "frequency", "Current CPU thread frequency in hertz."));
        }
        Self {
            offline: KernelFile::new(cpus.join("offline")),
            cpus: Devices::new(cpus),
            columns,
            governor: Family::gauge("node_cpu_scaling_governor", "Current enabled CPU frequency governor."),
            page: Page::default(),
        }
    }
}

impl Cpu {
    fn new(path: &Path, name: &[u8], columns: &[Column]) -> Self {
        let path = path.join("cpufreq");
        let file = |name: &str| Attribute::new(path.join(name));
        let name = name.strip_prefix(b"cpu").unwrap_or(name);
        Self {
            name: name.to_vec(),
            row: Row { labels: Labels::new(&[("cpu", name)]), columns: Columns::new(&path, columns) },
            required: REQUIRED.map(file),
            available: file("scaling_available_governors"),
            governor: file("scaling_governor"),
            folder: Attribute::new(path),
            said: <(Vec<u8>, Vec<u8>)>::default(),
            governors: Vec::new(),
            scales: false,
        }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        self.scales = self.folder.path().exists();
        if !self.scales {
            return Ok(());
        }
        self.row.columns.read(page, |text| number(text).map(|number| number as f64))?;
        for file in &mut self.required {
            required(file, page)?;
        }
        let available = required(&mut self.available, page)?;
        let mut changed = self.said.0 != available;
        if changed {
            self.said.0 = available.to_vec();
        }
        let governor = required(&mut self.governor, page)?;
        if self.said.1 != governor {
            self.said.1 = governor.to_vec();
            changed = true;
        }
        if changed {
            let (available, governor) = &self.said;
            let all = available.split(|byte| *byte == b' ').filter(|_| !governor.is_empty());
            let label = |name: &[u8]| Labels::new(&[("cpu", &self.name), ("governor", name)]);
            self.governors = all.map(|name| (label(name), name == governor)).collect();
        }
        Ok(())
    }
}

/// Whether a list such as `1,4-6` has the number.
fn is_in(list: &[u8], cpu: u64) -> bool {
    list.trim_ascii().split(|byte| *byte == b',').any(|range| {
        let mut ends = range.split(|byte| *byte == b'-').map(number);
        let first = ends.next().flatten();
        let last = ends.next().unwrap_or(first);
        first.zip(last).is_some_and(|(first, last)| (first..=last).contains(&cpu))
    })
}

impl Collector for Cpufreq {
    fn name(&self) -> &'static str {
        "cpufreq"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let offline = self.offline.read()?.bytes;
        self.cpus.refresh(|entry| entry.is_numbered("cpu"), |path, name| Cpu::new(path, name, &self.columns))?;
        for cpu in self.cpus.iter_mut() {
            if number(&cpu.name).is_some_and(|number| is_in(offline, number)) {
                cpu.scales = false;
            } else {
                cpu.read(&mut self.page)?;
            }
        }
        let scaling = || self.cpus.iter().filter(|cpu| cpu.scales);
        write(scrape.out, &self.columns, || scaling().map(|cpu| &cpu.row));
        let mut samples = scrape.out.family(&self.governor);
        scaling().flat_map(|cpu| &cpu.governors).for_each(|(labels, governs)| samples.with(labels, *governs));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_in;

    #[test]
    fn lists_of_cpus_have_numbers_and_ranges() {
        let has = |list: &str| (0..12).filter(|cpu| is_in(list.as_bytes(), *cpu)).collect::<Vec<_>>();
        assert_eq!((has("1,4-6,10\n"), has("\n"), has("x,3-,-,2-1")), (vec![1, 4, 5, 6, 10], vec![], vec![]));
    }
}

use super::sysfs::{Attribute, Devices, Page};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};

/// What the kernel's texts begin with, which are the states' names too.
const STATES: [&str; 4] = ["not affected", "vulnerable", "mitigation", "unknown"];

/// Known flaws of the CPU, and what the kernel does about them.
pub struct CpuVulnerabilities {
    flaws: Devices<Flaw>,
    info: Family,
    page: Page,
}

struct Flaw {
    name: Vec<u8>,
    file: Attribute,
    said: Vec<u8>,
    labels: Labels,
}

impl CpuVulnerabilities {
    pub fn new(roots: &Roots) -> Self {
        Self {
            flaws: Devices::new(roots.sysfs.join("devices/system/cpu/vulnerabilities")),
            info: Family::gauge(
                "node_cpu_vulnerabilities_info",
                "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of the vulnerability. The same state is stored as a string in the label",
            ),
            page: Page::default(),
        }
    }
}

impl Flaw {
    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        let text = match self.file.read_whole(page) {
            Ok(text) => text.trim_ascii(),
            Err(source) => return Err(CollectError::reading(self.file.path(), source)),
        };
        if self.said != text || self.labels == Labels::default() {
            self.said = text.to_vec();
            let (state, mitigation) = state_and_mitigation(&String::from_utf8_lossy(text));
            self.labels = Labels::new(&[
                ("codename", &self.name),
                ("mitigation", mitigation.as_bytes()),
                ("state", state.as_bytes()),
            ]);
        }
        Ok(())
    }
}

/// `Mitigation: PTI` is a mitigation, which is PTI; what is not of a known form is unknown.
fn state_and_mitigation(text: &str) -> (&'static str, String) {
    let lower = text.to_lowercase();
    match STATES.iter().find(|state| lower.starts_with(**state)) {
        Some(&"not affected") => ("not affected", String::new()),
        Some(state) => (state, text.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")),
        None => ("unknown", text.to_owned()),
    }
}

impl Collector for CpuVulnerabilities {
    fn name(&self) -> &'static str {
        "cpu_vulnerabilities"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let find = |path: &std::path::Path, name: &[u8]| Flaw {
            name: name.to_vec(),
            file: Attribute::new(path.to_owned()),
            said: Vec::new(),
            labels: Labels::default(),
        };
        // Kernels before 4.15 tell of none.
        match self.flaws.refresh(|entry| !entry.name.starts_with(b"."), find) {
            Err(CollectError::NoData { .. }) => return Ok(()),
            found => found?,
        };
        self.flaws.iter_mut().try_for_each(|flaw| flaw.read(&mut self.page))?;
        let mut samples = scrape.out.family(&self.info);
        self.flaws.iter().for_each(|flaw| samples.with(&flaw.labels, true));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::state_and_mitigation;

    #[test]
    fn the_state_is_what_the_text_begins_with() {
        let of = |text| {
            let (state, mitigation) = state_and_mitigation(text);
            format!("{state}: {mitigation}")
        };
        assert_eq!(of("Not affected"), "not affected: ");
        assert_eq!(of("Vulnerable"), "vulnerable: ");
        assert_eq!(of("Vulnerable: No microcode;  SMT"), "vulnerable: No microcode; SMT");
        assert_eq!(of("Mitigation: PTI; x"), "mitigation: PTI; x");
        assert_eq!(of("Unknown: Dependent on hypervisor status"), "unknown: Dependent on hypervisor status");
        assert_eq!(of("KVM: Mitigation: VMX disabled"), "unknown: KVM: Mitigation: VMX disabled");
    }
}

use super::sysfs::{Attribute, Devices, Page, malformed, required};
use super::{CollectError, Collector, Roots, Scrape, number};
use crate::encode::{Family, Labels};
use std::path::Path;

/// Memory errors that the hardware corrected, and those that it could not.
pub struct Edac {
    controllers: Devices<Controller>,
    page: Page,
    families: Families,
}

struct Families {
    corrected: Family,
    uncorrected: Family,
    row_corrected: Family,
    row_uncorrected: Family,
}

struct Controller {
    number: Vec<u8>,
    counts: Counts,
    /// Errors of which the row is not known.
    no_row: Counts,
    rows: Devices<Counts>,
}

/// A pair of counts.
struct Counts {
    labels: Labels,
    corrected: Count,
    uncorrected: Count,
}

struct Count {
    file: Attribute,
    value: Option<u64>,
}

impl Count {
    fn new(path: &Path, file: &str) -> Self {
        Self { file: Attribute::new(path.join(file)), value: None }
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        let text = required(&mut self.file, page)?;
        self.value = Some(number(text).ok_or_else(|| malformed(self.file.path(), "a number", text))?);
        Ok(())
    }
}

impl Counts {
    fn forget(&mut self) {
        self.corrected.value = None;
        self.uncorrected.value = None;
    }
}

/// The digits after a prefix: `12` of `mc12`.
fn number_after(name: &[u8], prefix: &str) -> Vec<u8> {
    let rest = name.strip_prefix(prefix.as_bytes()).unwrap_or_default();
    rest.iter().take_while(|byte| byte.is_ascii_digit()).copied().collect()
}

impl Controller {
    fn new(path: &Path, name: &[u8]) -> Self {
        let number = number_after(name, "mc");
        Self {
            counts: Counts {
                labels: Labels::new(&[("controller", &number)]),
                corrected: Count::new(path, "ce_count"),
                uncorrected: Count::new(path, "ue_count"),
            },
            no_row: Counts {
                labels: Labels::new(&[("controller", &number), ("csrow", b"unknown")]),
                corrected: Count::new(path, "ce_noinfo_count"),
                uncorrected: Count::new(path, "ue_noinfo_count"),
            },
            rows: Devices::new(path.to_owned()),
            number,
        }
    }

    fn forget(&mut self) {
        self.counts.forget();
        self.no_row.forget();
        self.rows.iter_mut().for_each(Counts::forget);
    }

    fn read(&mut self, page: &mut Page) -> Result<(), CollectError> {
        let (counts, no_row) = (&mut self.counts, &mut self.no_row);
        for count in [&mut counts.corrected, &mut no_row.corrected, &mut counts.uncorrected, &mut no_row.uncorrected] {
            count.read(page)?;
        }
        let number = &self.number;
        self.rows.refresh(
            |entry| entry.is_numbered("csrow"),
            |path, name| Counts {
                labels: Labels::new(&[("controller", number), ("csrow", &number_after(name, "csrow"))]),
                corrected: Count::new(path, "ce_count"),
                uncorrected: Count::new(path, "ue_count"),
            },
        )?;
        for row in self.rows.iter_mut() {
            row.corrected.read(page)?;
            row.uncorrected.read(page)?;
        }
        Ok(())
    }
}

impl Edac {
    pub fn new(roots: &Roots) -> Self {
        let counter = |name: &str, help: &str| Family::counter(&format!("node_edac_{name}_errors_total"), help);
        Self {
            controllers: Devices::new(roots.sysfs.join("devices/system/edac/mc")),
            page: Page::default(),
            families: Families {
                corrected: counter("correctable", "Total correctable memory errors."),
                uncorrected: counter("uncorrectable", "Total uncorrectable memory errors."),
                row_corrected: counter("csrow_correctable", "Total correctable memory errors for this csrow."),
                row_uncorrected: counter("csrow_uncorrectable", "Total uncorrectable memory errors for this csrow."),
            },
        }
    }

    fn read(&mut self) -> Result<(), CollectError> {
        let found = self.controllers.refresh(|entry| entry.is_numbered("mc"), Controller::new);
        // A host without such hardware has no errors, which is an answer.
        match found {
            Err(CollectError::NoData { .. }) => return Ok(()),
            found => found?,
        };
        self.controllers.iter_mut().for_each(Controller::forget);
        self.controllers.iter_mut().try_for_each(|controller| controller.read(&mut self.page))
    }

    fn write(&self, scrape: &mut Scrape<'_>) {
        let families = &self.families;
        let whole = || self.controllers.iter().map(|controller| &controller.counts);
        let rows = || self.controllers.iter().flat_map(|one| std::iter::once(&one.no_row).chain(one.rows.iter()));
        put(scrape, &families.corrected, whole(), |counts| counts.corrected.value);
        put(scrape, &families.row_corrected, rows(), |counts| counts.corrected.value);
        put(scrape, &families.uncorrected, whole(), |counts| counts.uncorrected.value);
        put(scrape, &families.row_uncorrected, rows(), |counts| counts.uncorrected.value);
    }
}

fn put<'c>(
    scrape: &mut Scrape<'_>,
    family: &Family,
    all: impl Iterator<Item = &'c Counts>,
    value: impl Fn(&Counts) -> Option<u64>,
) {
    let mut samples = scrape.out.family(family);
    for counts in all {
        if let Some(value) = value(counts) {
            samples.with(&counts.labels, value);
        }
    }
}

impl Collector for Edac {
    fn name(&self) -> &'static str {
        "edac"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let read = self.read();
        self.write(scrape);
        scrape.failed = read.err();
        Ok(())
    }
}

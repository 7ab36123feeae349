use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Texts, Unit, integer, write};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use std::path::Path;

/// Labels, each with the file of its value, where they have the same name.
const TEXTS: [&str; 5] = ["identity", "options", "pretimeout_governor", "state", "status"];

/// Timers that restart a host that hangs.
pub struct Watchdog {
    watchdogs: Devices<(Row, Texts)>,
    columns: Vec<Column>,
    info: Family,
    page: Page,
}

impl Watchdog {
    pub fn new(roots: &Roots) -> Self {
        let column = |file: &'static str, name: &str| {
            let help = format!("Value of /sys/class/watchdog/<watchdog>/{file}");
            Column { file, family: Family::gauge(&format!("node_watchdog_{name}"), &help), unit: Unit::One }
        };
        Self {
            watchdogs: Devices::new(roots.sysfs.join("class/watchdog")),
            columns: vec![
                column("access_cs0", "access_cs0"),
                column("bootstatus", "bootstatus"),
                column("fw_version", "fw_version"),
                column("nowayout", "nowayout"),
                column("pretimeout", "pretimeout_seconds"),
                column("timeleft", "timeleft_seconds"),
                column("timeout", "timeout_seconds"),
            ],
            info: Family::gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>"),
            page: Page::default(),
        }
    }
}

fn find(path: &Path, name: &[u8], columns: &[Column]) -> (Row, Texts) {
    let row = Row { labels: Labels::new(&[("name", name)]), columns: Columns::new(path, columns) };
    let named = Texts::new(&[("name", name)]);
    (row, TEXTS.iter().fold(named, |texts, file| texts.with(file, Attribute::new(path.join(file)))))
}

impl Collector for Watchdog {
    fn name(&self) -> &'static str {
        "watchdog"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.watchdogs.refresh(|_| true, |path, name| find(path, name, &self.columns))?;
        for (row, texts) in self.watchdogs.iter_mut() {
            row.columns.read(&mut self.page, |text| integer(text).map(|number| number as f64))?;
            texts.read(&mut self.page);
        }
        write(scrape.out, &self.columns, || self.watchdogs.iter().map(|(row, _)| row));
        let mut samples = scrape.out.family(&self.info);
        self.watchdogs.iter().for_each(|(_, texts)| samples.with(texts.labels(), true));
        Ok(())
    }
}

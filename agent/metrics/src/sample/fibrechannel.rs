use super::sysfs::{Attribute, Column, Columns, Devices, Page, Row, Texts, Unit, unsigned, write};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use std::path::Path;

/// Labels, each with the file of its value, where they have the same name.
const TEXTS: [&str; 7] =
    ["dev_loss_tmo", "port_state", "port_type", "speed", "supported_classes", "supported_speeds", "symbolic_name"];
/// The same, of numbers that begin with `0x`, which is left out.
const HEXADECIMALS: [&str; 3] = ["fabric_name", "port_id", "port_name"];
/// What an adapter says of a count that it does not keep.
const NOT_COUNTED: f64 = u64::MAX as f64;

/// Fibre Channel adapters.
pub struct Fibrechannel {
    hosts: Devices<(Row, Texts)>,
    columns: Vec<Column>,
    info: Family,
    page: Page,
}

impl Fibrechannel {
    pub fn new(roots: &Roots) -> Self {
        let column = |file, name: &str, help: &str| {
            let family = Family::counter(&format!("node_fibrechannel_{name}_total"), help);
            Column { file, family, unit: Unit::One }
        };
        Self {
            hosts: Devices::new(roots.sysfs.join("class/fc_host")),
            columns: vec![
                column("statistics/dumped_frames", "dumped_frames", "Number of dumped frames"),
                column("statistics/error_frames", "error_frames", "Number of errors in frames"),
                column("statistics/fcp_packet_aborts", "fcp_packet_aborts", "Number of aborted packets"),
                column("statistics/invalid_crc_count", "invalid_crc", "Invalid Cyclic Redundancy Check count"),
                column(
                    "statistics/invalid_tx_word_count",
                    "invalid_tx_words",
                    "Number of invalid words transmitted by host port",
                ),
                column(
                    "statistics/link_failure_count",
                    "link_failure",
                    "Number of times the host port link has failed",
                ),
                column("statistics/loss_of_signal_count", "loss_of_signal", "Number of times signal has been lost"),
                column(
                    "statistics/loss_of_sync_count",
                    "loss_of_sync",
                    "Number of failures on either bit or transmission word boundaries",
                ),
                column(
                    "statistics/nos_count",
                    "nos",
                    "Number Not_Operational Primitive Sequence received by host port",
                ),
                column("statistics/rx_frames", "rx_frames", "Number of frames received"),
                column("statistics/rx_words", "rx_words", "Number of words received by host port"),
                column(
                    "statistics/seconds_since_last_reset",
                    "seconds_since_last_reset",
                    "Number of seconds since last host port reset",
                ),
                column("statistics/tx_frames", "tx_frames", "Number of frames transmitted by host port"),
                column("statistics/tx_words", "tx_words", "Number of words transmitted by host port"),
            ],
            info: Family::gauge(
                "node_fibrechannel_info",
                "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
            ),
            page: Page::default(),
        }
    }
}

fn find(path: &Path, name: &[u8], columns: &[Column]) -> (Row, Texts) {
    let row = Row { labels: Labels::new(&[("fc_host", name)]), columns: Columns::new(path, columns) };
    let file = |name: &str| Attribute::new(path.join(name));
    let texts = TEXTS.iter().fold(Texts::new(&[("fc_host", name)]), |texts, name| texts.with(name, file(name)));
    let texts = HEXADECIMALS.iter().fold(texts, |texts, name| texts.with_cut(name, file(name), without_prefix));
    (row, texts)
}

fn without_prefix(text: &[u8]) -> &[u8] {
    if text.len() > 2 { &text[2..] } else { text }
}

impl Collector for Fibrechannel {
    fn name(&self) -> &'static str {
        "fibrechannel"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        self.hosts.refresh(|_| true, |path, name| find(path, name, &self.columns))?;
        for (row, texts) in self.hosts.iter_mut() {
            row.columns.read(&mut self.page, |text| unsigned(text).map(|number| number as f64))?;
            row.columns.values().iter_mut().for_each(|value| *value = value.filter(|count| *count < NOT_COUNTED));
            texts.read(&mut self.page);
        }
        write(scrape.out, &self.columns, || self.hosts.iter().map(|(row, _)| row));
        let mut samples = scrape.out.family(&self.info);
        self.hosts.iter().for_each(|(_, texts)| samples.with(texts.labels(), true));
        Ok(())
    }
}

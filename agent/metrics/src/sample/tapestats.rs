use super::sysfs::{Column, Columns, Devices, Page, Row, Unit, unsigned, write};
use super::{CollectError, Collector, Roots, Scrape};
use crate::encode::{Family, Labels};
use hostwright_core::config::metrics::collectors::tapestats as options;

/// SCSI tape drives.
pub struct Tapestats {
    options: options::Tapestats,
    tapes: Devices<Row>,
    columns: Vec<Column>,
    page: Page,
}

const NANOSECONDS: Unit = Unit::Times(0.000_000_001);

impl Tapestats {
    pub fn new(roots: &Roots, options: &options::Tapestats) -> Self {
        Self {
            options: options.clone(),
            tapes: Devices::new(roots.sysfs.join("class/scsi_tape")),
            columns: columns(),
            page: Page::default(),
        }
    }
}

fn columns() -> Vec<Column> {
    let column = |file, unit, name: &str, help: &str| {
        let family = Family::counter(&format!("node_tape_{name}_total"), help);
        Column { file, family, unit }
    };
    let now = Family::gauge("node_tape_io_now", "The number of I/Os currently outstanding to this device.");
    vec![
        Column { file: "stats/in_flight", family: now, unit: Unit::One },
        column(
            "stats/io_ns",
            NANOSECONDS,
            "io_time_seconds",
            "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on close tape devices are used.",
        ),
        column(
            "stats/other_cnt",
            Unit::One,
            "io_others",
            "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
        ),
        column("stats/read_byte_cnt", Unit::One, "read_bytes", "The number of bytes read from the tape drive."),
        column("stats/read_cnt", Unit::One, "reads_completed", "The number of read requests issued to the tape drive."),
        column(
            "stats/read_ns",
            NANOSECONDS,
            "read_time_seconds",
            "The amount of time spent waiting for read requests to complete.",
        ),
        column(
            "stats/resid_cnt",
            Unit::One,
            "residual",
            "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a program is issuing a read larger thean the block size on tape. For write not all data made it to tape.",
        ),
        column("stats/write_byte_cnt", Unit::One, "written_bytes", "The number of bytes written to the tape drive."),
        column(
            "stats/write_cnt",
            Unit::One,
            "writes_completed",
            "The number of write requests issued to the tape drive.",
        ),
        column(
            "stats/write_ns",
            NANOSECONDS,
            "write_time_seconds",
            "The amount of time spent waiting for write requests to complete.",
        ),
    ]
}

/// `st0`, and not `st0a` or `nst0`, which are the same drive in other modes.
fn is_tape(name: &[u8]) -> bool {
    name.strip_prefix(b"st").is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

impl Collector for Tapestats {
    fn name(&self) -> &'static str {
        "tapestats"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let taken = &self.options.devices;
        self.tapes.refresh(
            |entry| is_tape(&entry.name) && taken.admits(&entry.name),
            |path, name| Row { labels: Labels::new(&[("device", name)]), columns: Columns::new(path, &self.columns) },
        )?;
        for tape in self.tapes.iter_mut() {
            tape.columns.read(&mut self.page, |text| unsigned(text).map(|number| number as f64))?;
            // What a kernel does not count is 0 in the original.
            tape.columns.values().iter_mut().for_each(|value| *value = value.or(Some(0.0)));
        }
        write(scrape.out, &self.columns, || self.tapes.iter());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::is_tape;

    #[test]
    fn other_modes_of_a_drive_are_not_told_again() {
        assert!(is_tape(b"st0") && is_tape(b"st12"));
        assert!(["nst0", "st0a", "st0l", "st", "nst0m", "stx"].iter().all(|name| !is_tape(name.as_bytes())));
    }
}

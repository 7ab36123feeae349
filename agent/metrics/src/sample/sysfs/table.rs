use super::{Attribute, Page, malformed, optional};
use crate::encode::{Encoder, Family, Labels};
use crate::sample::CollectError;
use std::path::Path;

/// How a file's number becomes the family's.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// As it is.
    One,
    /// So many of the family's unit in one of the file's.
    Times(f64),
    /// So many of the file's unit in one of the family's. A quotient has another last digit than a product.
    Per(f64),
}

impl Unit {
    /// The family's number.
    pub fn of(self, number: f64) -> f64 {
        match self {
            Self::One => number,
            Self::Times(factor) => number * factor,
            Self::Per(divisor) => number / divisor,
        }
    }
}

/// A file that each device may have, and the family of its number.
#[derive(Debug)]
pub struct Column {
    /// Its place below the device.
    pub file: &'static str,
    /// Where its number is told.
    pub family: Family,
    /// In which unit.
    pub unit: Unit,
}

/// The numbers of one device, in the order of the columns.
#[derive(Debug)]
pub struct Columns {
    files: Vec<Attribute>,
    values: Vec<Option<f64>>,
}

impl Columns {
    /// Those of the device at `path`.
    pub fn new(path: &Path, columns: &[Column]) -> Self {
        let files: Vec<_> = columns.iter().map(|column| Attribute::new(path.join(column.file))).collect();
        Self { values: vec![None; files.len()], files }
    }

    /// Reads each file that is there; a content that `parse` does not take is an error.
    ///
    /// # Errors
    /// A file holds something else than a number.
    pub fn read(&mut self, page: &mut Page, parse: fn(&[u8]) -> Option<f64>) -> Result<(), CollectError> {
        for (file, value) in self.files.iter_mut().zip(&mut self.values) {
            *value = match optional(file, page) {
                None => None,
                Some(text) => match parse(text) {
                    Some(number) => Some(number),
                    None => return Err(malformed(&file.path, "a number", text)),
                },
            };
        }
        Ok(())
    }

    /// The numbers that were read, in the order of the columns.
    pub fn values(&mut self) -> &mut [Option<f64>] {
        &mut self.values
    }
}

/// A device with its label and numbers.
#[derive(Debug)]
pub struct Row {
    /// Its name, ready to be copied.
    pub labels: Labels,
    /// Its numbers.
    pub columns: Columns,
}

/// Writes each family with the devices that have it.
pub fn write<'d, I: Iterator<Item = &'d Row>>(out: &mut Encoder, columns: &[Column], rows: impl Fn() -> I) {
    for (at, column) in columns.iter().enumerate() {
        let mut samples = out.family(&column.family);
        for row in rows() {
            if let Some(number) = row.columns.values[at] {
                samples.with(&row.labels, column.unit.of(number));
            }
        }
    }
}

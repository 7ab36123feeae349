use crate::encode::{Encoder, Family, Labels};

/// Samples of families that the kernel names, for several devices: the fields of each device are read one after the
/// other, and written family by family. Families and buffers are kept from scrape to scrape.
#[derive(Debug)]
pub struct Grid {
    family: fn(&str) -> Family,
    /// The fields of all devices; null in place of a family for one whose name cannot be part of a metric's.
    fields: Vec<(Vec<u8>, Option<Family>)>,
    rows: Vec<Row>,
    used: usize,
}

#[derive(Debug, Default)]
struct Row {
    labels: Labels,
    /// In the order of the fields.
    values: Vec<Option<u64>>,
}

impl Grid {
    /// Families are made by their fields' names.
    pub fn new(family: fn(&str) -> Family) -> Self {
        Self { family, fields: Vec::new(), rows: Vec::new(), used: 0 }
    }

    /// Before the first row of a scrape.
    pub fn begin(&mut self) {
        self.used = 0;
    }

    /// The next row.
    pub fn row(&mut self, labels: &[(&str, &[u8])]) {
        if self.used == self.rows.len() {
            self.rows.push(Row::default());
        }
        let row = &mut self.rows[self.used];
        self.used += 1;
        row.values.clear();
        row.labels.set(labels);
    }

    /// A value of the last row. Fields that always come in the same order are found at once.
    pub fn put(&mut self, field: &[u8], value: u64) {
        let Some(row) = self.rows[..self.used].last_mut() else { return };
        let next = row.values.len();
        let at = match self.fields.get(next) {
            Some((known, _)) if known == field => next,
            _ => match self.fields.iter().position(|(known, _)| known == field) {
                Some(at) => at,
                None => {
                    let name = std::str::from_utf8(field).ok().filter(|name| is_part_of_a_name(name));
                    self.fields.push((field.to_owned(), name.map(self.family)));
                    self.fields.len() - 1
                }
            },
        };
        if row.values.len() <= at {
            row.values.resize(at + 1, None);
        }
        row.values[at] = Some(value);
    }

    /// Writes all rows.
    pub fn write(&self, out: &mut Encoder) {
        for (at, (_, family)) in self.fields.iter().enumerate() {
            let Some(family) = family else { continue };
            let mut samples = out.family(family);
            for row in &self.rows[..self.used] {
                if let Some(value) = row.values.get(at).copied().flatten() {
                    samples.with(&row.labels, value);
                }
            }
        }
    }
}

/// Whether a field can be part of a metric's name, once its hyphens are underscores.
pub fn is_part_of_a_name(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::Grid;
    use crate::encode::{Encoder, Family};

    fn text(grid: &Grid) -> String {
        let mut out = Encoder::default();
        grid.write(&mut out);
        let text = String::from_utf8(out.take()).expect("UTF-8");
        text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn fields_make_families_and_devices_without_a_field_have_no_sample_of_it() {
        let mut grid = Grid::new(|field| Family::gauge(field, "A."));
        for (key, fields) in [("one", &["a", "b"][..]), ("two", &["c", "a", "b{}"])] {
            grid.row(&[("device", key.as_bytes())]);
            for (at, field) in fields.iter().enumerate() {
                grid.put(field.as_bytes(), at as u64);
            }
        }
        assert_eq!(text(&grid), r#"a{device="one"} 0 | a{device="two"} 1 | b{device="one"} 1 | c{device="two"} 0"#);
        grid.begin();
        grid.row(&[("device", b"two")]);
        grid.put(b"c", 7);
        assert_eq!(text(&grid), r#"c{device="two"} 7"#);
    }
}

use crate::encode::Labels;

/// Devices with their values: families are written one after the other, each with all devices, so the values of all
/// must be there first. Names and labels are kept from scrape to scrape and rendered anew only where a device changed.
#[derive(Debug)]
pub struct Rows<V> {
    rows: Vec<Row<V>>,
    used: usize,
}

/// One device.
#[derive(Debug)]
pub struct Row<V> {
    key: Vec<u8>,
    /// Its label, ready to be copied.
    pub labels: Labels,
    /// What was read of it.
    pub values: V,
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self { rows: Vec::new(), used: 0 }
    }
}

impl<V: Default> Rows<V> {
    /// Before the first row of a scrape.
    pub fn begin(&mut self) {
        self.used = 0;
    }

    /// The next row. Its values are those of the last scrape if the same device stood here, else the default.
    pub fn row(&mut self, label: &str, key: &[u8]) -> &mut V {
        self.row_with(key, |labels| labels.set(&[(label, key)]))
    }

    /// The next row under a key of its own, with labels that are rendered where another key stood here.
    pub fn row_with(&mut self, key: &[u8], render: impl FnOnce(&mut Labels)) -> &mut V {
        if self.used == self.rows.len() {
            self.rows.push(Row { key: Vec::new(), labels: Labels::default(), values: V::default() });
        }
        let row = &mut self.rows[self.used];
        self.used += 1;
        if row.key != key || row.labels == Labels::default() {
            row.key.clear();
            row.key.extend_from_slice(key);
            render(&mut row.labels);
            row.values = V::default();
        }
        &mut row.values
    }

    /// Takes back the last row: its device is gone.
    pub fn forget(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    /// The rows of this scrape.
    pub fn all(&self) -> &[Row<V>] {
        &self.rows[..self.used]
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Row<V>> {
        self.all().iter()
    }
}

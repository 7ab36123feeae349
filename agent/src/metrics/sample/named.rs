use crate::metrics::encode::{Encoder, Family, Labels};

/// Families whose names the kernel chooses, each with samples of several places, such as CPUs. Names, explanations and
/// labels are kept from scrape to scrape.
#[derive(Debug, Default)]
pub struct Named {
    families: Vec<Known>,
    /// Where the next name is expected, which is after the last.
    next: usize,
}

#[derive(Debug)]
struct Known {
    name: Vec<u8>,
    family: Family,
    samples: Vec<Sample>,
    used: usize,
}

#[derive(Debug)]
struct Sample {
    place: Vec<u8>,
    labels: Labels,
    value: u64,
}

impl Named {
    /// Before the first sample of a scrape.
    pub fn begin(&mut self) {
        self.next = 0;
        self.families.iter_mut().for_each(|family| family.used = 0);
    }

    /// Puts a sample under the kernel's name; a name that is new is explained by `family`.
    pub fn family(&mut self, name: &[u8], family: impl FnOnce() -> Family) -> Places<'_> {
        let expected = self.families.get(self.next).is_some_and(|known| known.name == name);
        let known = if expected { Some(self.next) } else { self.families.iter().position(|known| known.name == name) };
        let at = known.unwrap_or_else(|| {
            let name = name.to_owned();
            self.families.push(Known { name, family: family(), samples: Vec::new(), used: 0 });
            self.families.len() - 1
        });
        self.next = at + 1;
        Places(&mut self.families[at])
    }

    /// Writes what was put since the beginning.
    pub fn write(&self, out: &mut Encoder) {
        for known in &self.families {
            let mut samples = out.family(&known.family);
            known.samples[..known.used].iter().for_each(|sample| samples.with(&sample.labels, sample.value));
        }
    }
}

/// The samples of one family.
pub struct Places<'a>(&'a mut Known);

impl Places<'_> {
    /// Puts the next one. Its labels are rendered where another place stood here before.
    pub fn put(&mut self, place: &[u8], value: u64, labels: impl FnOnce() -> Labels) {
        let Known { samples, used, .. } = &mut self.0;
        match samples.get_mut(*used) {
            Some(sample) if sample.place == place => sample.value = value,
            _ => {
                samples.truncate(*used);
                samples.push(Sample { place: place.to_owned(), labels: labels(), value });
            }
        }
        *used += 1;
    }
}

use super::{Attribute, Page};
use crate::encode::Labels;

/// Labels of one sample, of which some are what files hold. They are rendered anew only when a file says something else.
#[derive(Debug, Default)]
pub struct Texts {
    parts: Vec<Part>,
    /// Whether a label without a value is left out.
    only_filled: bool,
    rendered: bool,
    labels: Labels,
}

#[derive(Debug)]
struct Part {
    label: &'static str,
    value: Vec<u8>,
    file: Option<Attribute>,
    cut: fn(&[u8]) -> &[u8],
}

impl Texts {
    /// Labels with values that stay, such as the device's name.
    pub fn new(fixed: &[(&'static str, &[u8])]) -> Self {
        let part = |&(label, value): &(&'static str, &[u8])| Part {
            label,
            value: value.to_vec(),
            file: None,
            cut: |text| text,
        };
        Self { parts: fixed.iter().map(part).collect(), ..Self::default() }
    }

    /// A label whose value is what a file holds.
    pub fn with(self, label: &'static str, file: Attribute) -> Self {
        self.with_cut(label, file, |text| text)
    }

    /// The same, with a part of what the file holds.
    pub fn with_cut(mut self, label: &'static str, file: Attribute, cut: fn(&[u8]) -> &[u8]) -> Self {
        self.parts.push(Part { label, value: Vec::new(), file: Some(file), cut });
        self
    }

    /// Leaves out labels without a value.
    pub fn only_filled(mut self) -> Self {
        self.only_filled = true;
        self
    }

    /// Reads the files; what cannot be read is empty.
    pub fn read(&mut self, page: &mut Page) -> &Labels {
        let mut changed = !self.rendered;
        for part in &mut self.parts {
            let Some(file) = &mut part.file else { continue };
            let text = (part.cut)(file.read(page).unwrap_or_default());
            if part.value != text {
                part.value.clear();
                part.value.extend_from_slice(text);
                changed = true;
            }
        }
        if changed {
            self.parts.sort_by_key(|part| part.label);
            let filled = self.parts.iter().filter(|part| !self.only_filled || !part.value.is_empty());
            let pairs: Vec<_> = filled.map(|part| (part.label, &part.value[..])).collect();
            self.labels.set(&pairs);
            self.rendered = true;
        }
        &self.labels
    }

    /// As they were read last.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::{Attribute, Labels, Page, Texts};
    use std::fs;

    #[test]
    fn labels_follow_the_files_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("state");
        let (file, absent) = (Attribute::new(path.clone()), Attribute::new(folder.path().join("absent")));
        let mut page = Page::default();
        let mut texts = Texts::new(&[("name", b"wd0")]).with("state", file).with("model", absent);
        assert_eq!(*texts.read(&mut page), Labels::new(&[("model", b""), ("name", b"wd0"), ("state", b"")]));
        fs::write(&path, "live\n").expect("written");
        assert_eq!(*texts.read(&mut page), Labels::new(&[("model", b""), ("name", b"wd0"), ("state", b"live")]));
        let mut texts = texts.only_filled();
        texts.rendered = false;
        assert_eq!(*texts.read(&mut page), Labels::new(&[("name", b"wd0"), ("state", b"live")]));
    }
}

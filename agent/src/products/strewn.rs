use super::record::{Line, Strewn};
use std::collections::BTreeMap;

/// Objects of folders that are not whole, by the folders' keys.
#[derive(Debug, Default)]
pub(super) struct Heap(BTreeMap<String, Strewn>);

impl Heap {
    /// Adds objects; gives the lines that tell of those that are new.
    pub(super) fn add(&mut self, folder: &str, more: &Strewn) -> Vec<Line> {
        let strewn = self.0.entry(folder.to_owned()).or_default();
        strewn.path.clone_from(&more.path);
        strewn.place.clone_from(&more.place);
        strewn.of_earlier |= more.of_earlier;
        let new: Vec<_> = more.keys.iter().filter(|key| strewn.keys.insert((*key).clone())).collect();
        new.into_iter().map(|key| line(folder, more, key)).collect()
    }

    pub(super) fn of(&self, folder: &str) -> Option<&Strewn> {
        self.0.get(folder)
    }

    pub(super) fn all(&self) -> Vec<(String, Strewn)> {
        self.0.iter().map(|(folder, strewn)| (folder.clone(), strewn.clone())).collect()
    }

    pub(super) fn remove(&mut self, folder: &str) -> bool {
        self.0.remove(folder).is_some()
    }

    /// Takes what a journal has of it.
    pub(super) fn replay(&mut self, line: Line) {
        match line {
            Line::Strewn { f, p, b, k, o } => {
                drop(self.add(&f, &Strewn { path: p, place: b, keys: [k].into(), of_earlier: o }));
            }
            Line::Gathered(folder) => drop(self.0.remove(&folder)),
            _ => {}
        }
    }

    /// What a journal is to have of it.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.iter().flat_map(|(folder, strewn)| strewn.keys.iter().map(move |key| line(folder, strewn, key)))
    }
}

fn line(folder: &str, strewn: &Strewn, key: &str) -> Line {
    let Strewn { path, place, of_earlier, .. } = strewn;
    Line::Strewn { f: folder.to_owned(), p: path.clone(), b: place.clone(), k: key.to_owned(), o: *of_earlier }
}

#[cfg(test)]
mod tests {
    use super::{Heap, Strewn};

    #[test]
    fn what_is_strewn_is_known_until_it_is_gathered_and_told_once() {
        let (mut heap, mut again) = (Heap::default(), Heap::default());
        let strewn = |keys: &[&str], of_earlier| Strewn {
            path: "in".into(),
            place: "there".into(),
            keys: keys.iter().map(ToString::to_string).collect(),
            of_earlier,
        };
        assert_eq!(heap.add("f", &strewn(&["f/a", "f/b"], true)).len(), 2);
        assert_eq!(heap.add("f", &strewn(&["f/b", "f/c"], false)).len(), 1);
        heap.lines().for_each(|line| again.replay(line));
        assert_eq!(again.of("f"), Some(&strewn(&["f/a", "f/b", "f/c"], true)));
        assert!(heap.remove("f") && !heap.remove("f") && heap.lines().next().is_none());
    }
}

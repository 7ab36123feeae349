use crate::logs::record::Facts;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Encoded records that are sent at once and answered together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The records, one behind the other, as the output's encoder made them.
    pub bytes: Bytes,
    /// In the order of `bytes`.
    pub items: Vec<Item>,
    /// The files that the items come from, in the items' order.
    pub groups: Vec<Group>,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Where its bytes end; they begin where the item before ends.
    pub end: usize,
    /// When it happened, in nanoseconds since 1970.
    pub time: i64,
    /// Its line says so; otherwise that is when it was read.
    pub is_dated: bool,
    /// What the file's content is called.
    pub content: u64,
    /// Where its line begins in the file.
    pub offset: u64,
    /// How many bytes of the file it takes.
    pub length: u64,
}

/// Consecutive items of one file.
#[derive(Clone, Debug)]
pub struct Group {
    pub facts: Arc<Facts>,
    /// Indices of its items.
    pub items: Range<usize>,
}

/// Some items of a batch, which are to be sent now.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    pub batch: &'a Batch,
    /// Indices of items, in order.
    pub indices: &'a [usize],
}

impl Batch {
    /// One of its items alone.
    pub fn only(&self, index: usize) -> Self {
        let range = self.range(index);
        let groups = self.groups.iter().filter(|group| group.items.contains(&index));
        let groups = groups.map(|group| Group { facts: group.facts.clone(), items: 0..1 }).collect();
        let item = Item { end: range.len(), ..self.items[index] };
        // Its own memory: the batch's is used again.
        Self { bytes: Bytes::copy_from_slice(&self.bytes[range]), items: vec![item], groups }
    }

    /// The bytes of an item.
    pub fn range(&self, index: usize) -> Range<usize> {
        let start = index.checked_sub(1).map_or(0, |before| self.items[before].end);
        start..self.items[index].end
    }
}

impl<'a> Selection<'a> {
    pub fn len(self) -> usize {
        self.indices.len()
    }

    /// Each item with its bytes.
    pub fn items(self) -> impl Iterator<Item = (&'a Item, &'a [u8])> {
        self.indices.iter().map(move |&index| (&self.batch.items[index], &self.batch.bytes[self.batch.range(index)]))
    }

    /// All bytes, one item behind the other. Costs nothing when the selection is the whole batch.
    pub fn bytes(self) -> Bytes {
        if self.indices.len() == self.batch.items.len() {
            return self.batch.bytes.clone();
        }
        self.items().flat_map(|(_, bytes)| bytes).copied().collect()
    }

    /// The files that the items come from, each with its share of the selection, in order.
    pub fn groups(self) -> impl Iterator<Item = (&'a Facts, Selection<'a>)> {
        let mut rest = self.indices;
        self.batch.groups.iter().filter_map(move |group| {
            let (share, further) = rest.split_at(rest.partition_point(|index| *index < group.items.end));
            rest = further;
            (!share.is_empty()).then_some((&*group.facts, Selection { batch: self.batch, indices: share }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Group, Item, Selection};
    use crate::logs::record::Facts;
    use bytes::Bytes;
    use std::sync::Arc;

    fn batch() -> Batch {
        let item = |end| Item { is_dated: true, end, time: 0, content: 0, offset: 0, length: 0 };
        let facts = |file: &str| Arc::new(Facts { file: file.into(), ..Facts::default() });
        Batch {
            bytes: Bytes::from_static(b"abbcccd"),
            items: vec![item(1), item(3), item(6), item(7)],
            groups: vec![Group { facts: facts("x"), items: 0..3 }, Group { facts: facts("y"), items: 3..4 }],
        }
    }

    #[test]
    fn a_selection_gives_its_items_bytes_and_groups() {
        let batch = batch();
        let some = Selection { batch: &batch, indices: &[1, 3] };
        assert_eq!(some.items().map(|(_, bytes)| bytes).collect::<Vec<_>>(), [&b"bb"[..], b"d"]);
        assert_eq!(some.bytes(), "bbd");
        let groups: Vec<_> = some.groups().map(|(facts, share)| (facts.file.as_str(), share.indices)).collect();
        assert_eq!(groups, [("x", &[1][..]), ("y", &[3][..])]);
        let all = Selection { batch: &batch, indices: &[0, 1, 2, 3] };
        assert_eq!((all.bytes(), all.groups().count(), all.len()), (Bytes::from_static(b"abbcccd"), 2, 4));
        let one = batch.only(2);
        assert_eq!((&one.bytes[..], one.range(0), one.groups[0].facts.file.as_str()), (&b"ccc"[..], 0..3, "x"));
    }
}

use super::{push, push_point};
use crate::push::batch::{Batch, Series};
use hostwright_duty::protobuf::{push_bytes, push_number, push_varint};
use std::ops::Range;

/// <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>
pub fn request(batch: &Batch, series: Range<usize>) -> Vec<u8> {
    let mut table = Table { places: vec![None; batch.symbols.count()], used: Vec::new() };
    // The first symbol is the empty text, whether somebody uses it or not.
    table.place(0);
    let mut all = Vec::new();
    for one in &batch.series[series] {
        push(&mut all, 5, |out| time_series(out, batch, one, &mut table));
    }
    let mut out = Vec::with_capacity(all.len() * 2);
    for symbol in &table.used {
        push_bytes(&mut out, 4, batch.symbols.text(*symbol).as_bytes());
    }
    out.extend_from_slice(&all);
    out
}

/// The symbols of a message, which has not all of its batch's.
struct Table {
    /// By the batch's symbol: its place in the message.
    places: Vec<Option<u32>>,
    used: Vec<u32>,
}

impl Table {
    fn place(&mut self, symbol: u32) -> u32 {
        *self.places[symbol as usize].get_or_insert_with(|| {
            self.used.push(symbol);
            self.used.len() as u32 - 1
        })
    }
}

fn time_series(out: &mut Vec<u8>, batch: &Batch, series: &Series, table: &mut Table) {
    push(out, 1, |out| series.labels.iter().for_each(|symbol| push_varint(out, table.place(*symbol).into())));
    series.points.iter().for_each(|point| push_point(out, *point));
    let family = &batch.families[series.family];
    push(out, 5, |out| {
        if family.kind as u64 != 0 {
            push_number(out, 1, family.kind as u64);
        }
        if family.help != 0 {
            push_number(out, 3, table.place(family.help).into());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::request;
    use crate::push::batch::Batches;
    use crate::push::identity::Identity;
    use crate::push::queue::Record;

    #[test]
    fn a_message_is_as_the_specification_has_it_and_has_its_own_symbols_alone() {
        let identity = Identity { job: "j".into(), instance: "i".into(), external: Vec::new() };
        let record = Record::new(150, "unused 0\n# HELP a H\n# TYPE a counter\na 1\n".to_owned());
        let batch = Batches::new(identity).make(vec![record], 0..2);
        let mut want =
            b"\x22\0\x22\x08__name__\x22\x01a\x22\x08instance\x22\x01i\x22\x03job\x22\x01j\x22\x01H".to_vec();
        want.extend_from_slice(b"\x2a\x1c\x0a\x06\x01\x02\x03\x04\x05\x06");
        want.extend_from_slice(b"\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\x96\x01");
        want.extend_from_slice(b"\x2a\x04\x08\x01\x18\x07");
        assert_eq!(request(&batch, 1..2), want);
    }
}

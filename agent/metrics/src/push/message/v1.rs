use super::{push, push_point};
use crate::push::batch::{Batch, Series};
use hostwright_duty::protobuf::{push_bytes, push_number};
use std::ops::Range;

/// <https://prometheus.io/docs/specs/prw/remote_write_spec/>, with the metadata of the families where asked, as Prometheus
/// itself sends it in field 3.
pub fn write_request(batch: &Batch, series: Range<usize>, with_metadata: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let series = &batch.series[series];
    for one in series {
        push(&mut out, 1, |out| time_series(out, batch, one));
    }
    if with_metadata {
        push_metadata(&mut out, batch, series);
    }
    out
}

fn time_series(out: &mut Vec<u8>, batch: &Batch, series: &Series) {
    for label in series.labels.chunks_exact(2) {
        push(out, 1, |out| {
            push_bytes(out, 1, batch.symbols.text(label[0]).as_bytes());
            push_bytes(out, 2, batch.symbols.text(label[1]).as_bytes());
        });
    }
    series.points.iter().for_each(|point| push_point(out, *point));
}

/// prometheus.MetricMetadata
fn push_metadata(out: &mut Vec<u8>, batch: &Batch, series: &[Series]) {
    let mut last = None;
    for one in series.iter().map(|one| one.family) {
        if last.replace(one) == Some(one) {
            continue;
        }
        let family = &batch.families[one];
        push(out, 3, |out| {
            if family.kind as u64 != 0 {
                push_number(out, 1, family.kind as u64);
            }
            push_bytes(out, 2, batch.symbols.text(family.name).as_bytes());
            if family.help != 0 {
                push_bytes(out, 4, batch.symbols.text(family.help).as_bytes());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::write_request;
    use crate::push::batch::Batches;
    use crate::push::identity::Identity;
    use crate::push::queue::Record;

    #[test]
    fn a_message_is_as_the_specification_has_it() {
        let identity = Identity { job: "j".into(), instance: "i".into(), external: Vec::new() };
        let record = Record::new(150, "# HELP a H\n# TYPE a gauge\na 1\n".to_owned());
        let batch = Batches::new(identity).make(vec![record], 0..1);
        let labels = b"\x0a\x0d\x0a\x08__name__\x12\x01a\x0a\x0d\x0a\x08instance\x12\x01i\x0a\x08\x0a\x03job\x12\x01j";
        let sample = b"\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\x96\x01";
        let mut want = vec![0x0a, (labels.len() + sample.len()) as u8];
        want.extend_from_slice(labels);
        want.extend_from_slice(sample);
        assert_eq!(write_request(&batch, 0..1, false), want);
        want.extend_from_slice(b"\x1a\x08\x08\x02\x12\x01a\x22\x01H");
        assert_eq!(write_request(&batch, 0..1, true), want);
    }
}

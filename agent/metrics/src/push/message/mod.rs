//! The protocol's messages. In: some of a batch's series. Out: the bytes of one message, not compressed.

/// `prometheus.WriteRequest`, of version 1.0.
mod v1;
/// `io.prometheus.write.v2.Request`, of version 2.0.
mod v2;

pub use v1::write_request;
pub use v2::request;

use super::batch::Point;
use hostwright_duty::protobuf::{push_fixed64, push_message, push_number};
use std::convert::Infallible;

/// A message that cannot fail.
fn push(out: &mut Vec<u8>, field: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let Ok(()) = push_message::<Infallible>(out, field, |out| {
        fill(out);
        Ok(())
    });
}

/// A sample, the same in both versions. Zeros are not written, as in every message of proto3.
fn push_point(out: &mut Vec<u8>, point: Point) {
    push(out, 2, |out| {
        if point.value != 0 {
            push_fixed64(out, 1, point.value);
        }
        if point.time != 0 {
            push_number(out, 2, point.time.cast_unsigned());
        }
    });
}

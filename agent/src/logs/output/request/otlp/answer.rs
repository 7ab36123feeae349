/// How many records were rejected, and why: ExportLogsServiceResponse, of which nothing else is known.
pub fn partial_success(body: &[u8]) -> Option<(u64, String)> {
    let mut success = None;
    fields(body, |field, value| {
        if let (1, Field::Bytes(bytes)) = (field, value) {
            success = Some(bytes);
        }
    })?;
    let (mut rejected, mut message) = (0, String::new());
    fields(success?, |field, value| match (field, value) {
        (1, Field::Number(number)) => rejected = number,
        (2, Field::Bytes(bytes)) => message = String::from_utf8_lossy(bytes).into_owned(),
        _ => {}
    })?;
    Some((rejected, message))
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Gives each field of a message; none if it is not one.
fn fields<'a>(mut rest: &'a [u8], mut each: impl FnMut(u64, Field<'a>)) -> Option<()> {
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Field::Number(varint(&mut rest)?),
            1 => rest.split_off(..8).map(|_| Field::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Field::Bytes(rest.split_off(..length)?)
            }
            5 => rest.split_off(..4).map(|_| Field::Other)?,
            _ => return None,
        };
        each(tag >> 3, value);
    }
    Some(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::partial_success;

    #[test]
    fn a_partial_success_is_read_and_anything_else_is_none() {
        assert_eq!(partial_success(b"\x0a\x08\x08\xac\x02\x12\x03bad"), Some((300, "bad".into())));
        assert_eq!(partial_success(b"\x0a\x00"), Some((0, String::new())));
        assert_eq!(partial_success(b"\x29\0\0\0\0\0\0\0\0\x0a\x02\x08\x01"), Some((1, String::new())));
        for none in
            [&b""[..], b"{}", b"<html>", b"\x0a\x7f\x08", b"\x0a", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(partial_success(none), None, "{none:?}");
        }
    }

    #[test]
    fn bytes_of_any_kind_are_no_trouble() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..50_000 {
            let mut body: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            if random.bool() {
                body.splice(0..0, *b"\x0a\x1b\x08\xac\x02\x12\x16");
            }
            let _ = partial_success(&body);
        }
    }
}

//! Protocol Buffers' wire format, read as strictly as the documentation has it (protobuf.dev, encoding).

use anyhow::{Context, Result, bail};

/// A field's content.
pub enum Value<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, of the kinds that are in use.
pub fn fields(mut rest: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => {
                let bytes = rest.split_off(..8).context("a number beyond its message")?;
                Value::Fixed64(u64::from_le_bytes(bytes.try_into()?))
            }
            2 => {
                let length = usize::try_from(varint(&mut rest)?)?;
                Value::Bytes(rest.split_off(..length).context("a field beyond its message")?)
            }
            kind => bail!("a field of the kind {kind}"),
        };
        all.push((tag >> 3, value));
    }
    Ok(all)
}

/// Numbers of a packed field.
pub fn packed(mut rest: &[u8]) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        all.push(varint(&mut rest)?);
    }
    Ok(all)
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first().context("a number beyond its message")?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    bail!("a number without end")
}

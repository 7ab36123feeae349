/// The kernel's short form of a number: `1.5k`, where the digit after the point counts 1/10.24 of a unit, as its
/// authors count it. Without sign.
pub fn size(text: &[u8]) -> Option<f64> {
    let (last, rest) = text.split_last()?;
    if *last <= b'9' {
        return Some(std::str::from_utf8(text).ok()?.parse::<f64>().ok()?.trunc());
    }
    let power = b"kMGTPEZY".iter().position(|unit| unit == last);
    let (whole, tenths) = match rest.iter().position(|byte| *byte == b'.') {
        Some(at) => (&rest[..at], rest[at + 1..].split(|byte| *byte == b'.').next()),
        None => (rest, None),
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    let tenths = match tenths {
        Some(tenths) => number(tenths)? / 10.24,
        None => 0.0,
    };
    // A unit that nobody knows counts nothing.
    let unit = power.map_or(0.0, |power| 1024_f64.powi(power as i32 + 1));
    Some(((number(whole)? + tenths) * unit).trunc())
}

/// The same with sign.
pub fn signed_size(text: &[u8]) -> Option<f64> {
    match text.strip_prefix(b"-") {
        Some(rest) => size(rest).map(|number| -number),
        None => size(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{signed_size, size};

    #[test]
    fn sizes_are_read_as_the_kernel_writes_them() {
        assert_eq!((size(b"0"), size(b"542"), size(b"322M")), (Some(0.0), Some(542.0), Some(337_641_472.0)));
        assert_eq!((size(b"323.4k"), size(b"1.1k")), (Some(331_152.0), Some(1124.0)));
        assert_eq!((size(b""), size(b"k"), size(b"x.yk"), size(b"\xff"), size(b"1.k")), (None, None, None, None, None));
        assert_eq!((signed_size(b"-2.5k"), signed_size(b"7x")), (Some(-2548.0), Some(0.0)));
    }
}

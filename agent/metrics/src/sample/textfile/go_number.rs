/// From this exponent on Go writes numbers with it.
const EXPONENT: i32 = 6;

/// A number as Go writes it in `le` and `quantile`, where it is part of a series' name: the shortest text that reads back
/// as the same, with an exponent of at least two digits where the number is very small or large.
pub fn go_number(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let text = format!("{number:e}");
    let exponent = text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?)));
    match exponent {
        Some((digits, exponent)) if !(-4..EXPONENT).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::go_number;

    #[test]
    fn numbers_look_as_go_writes_them() {
        for (number, text) in [
            (0.1, "0.1"),
            (-0.0, "0"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (-1_234_567.5, "-1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(go_number(number), text);
        }
    }
}

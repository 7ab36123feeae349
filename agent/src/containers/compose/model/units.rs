use super::tree::Value;
use std::time::Duration;

/// A size in Docker's units, where `k`, `kb` and `KiB` are all 1024.
pub fn bytes(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let product = number * 2_f64.powi(shift);
    // Beyond that the engine could not count them.
    (text.starts_with(|c: char| c.is_ascii_digit()) && product < 9.2e18).then_some(product as i64)
}

/// Go's conversion of a number to a whole one: what does not fit becomes the least of all.
pub fn whole(number: f64) -> i64 {
    if number.abs() < 2_f64.powi(63) { number as i64 } else { i64::MIN }
}

/// The rights of a file as Compose shows them: `0440`.
pub fn mode(rights: i64) -> Value {
    let sign = if rights < 0 { "-" } else { "" };
    Value::Text(format!("0{sign}{:o}", rights.unsigned_abs()))
}

/// A duration as Go writes it, in nanoseconds: `1m30s`, `1.5s`, `-1s`; days and weeks too.
pub fn duration(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned == "0" {
        return Some(0);
    }
    let (mut total, mut rest) = (0_i64, unsigned);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = unit(&rest[..end])?;
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part: f64 = format!("0.{fraction}0").parse().ok()?;
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add((part * unit as f64) as i64)?;
        rest = &rest[end..];
    }
    Some(if negative { -total } else { total })
}

fn unit(name: &str) -> Option<i64> {
    const HOUR: i64 = 3_600_000_000_000;
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => HOUR,
        "d" => 24 * HOUR,
        "w" => 168 * HOUR,
        _ => return None,
    })
}

/// As Go prints it: `1h30m0s`, `1.5s`, `250ms`.
pub fn print_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let rest = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { (value / unit).to_string() } else { format!("{}.{rest}", value / unit) }
    };
    match total {
        0 => return "0s".into(),
        1..1_000 => return format!("{sign}{total}ns"),
        1_000..1_000_000 => return format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => return format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {}
    }
    let (minutes, rest) = (total / 60_000_000_000, total % 60_000_000_000);
    let seconds = if rest == 0 { "0".into() } else { fraction(rest, 1_000_000_000) };
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// What a canonical duration says; a negative one is none.
pub fn read_duration(text: &str) -> Option<Duration> {
    duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok()).map(Duration::from_nanos)
}

/// A number as Compose keeps it, with the digits of a 32-bit float.
pub fn short_float(number: f64) -> Value {
    let short = (number as f32).to_string();
    Value::Float(short.parse().unwrap_or(number))
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, print_duration};

    #[test]
    fn durations_are_go_s() {
        for (text, printed) in [
            ("1m30s", "1m30s"),
            ("90s", "1m30s"),
            ("1.5s", "1.5s"),
            ("500ms", "500ms"),
            ("0", "0s"),
            ("2h", "2h0m0s"),
            ("1d", "24h0m0s"),
            ("-1.5ms", "-1.5ms"),
            ("10us", "10µs"),
            ("3600.5s", "1h0m0.5s"),
        ] {
            assert_eq!(duration(text).map(print_duration).as_deref(), Some(printed), "{text}");
        }
        for wrong in ["", "10", "s", "1e9h", "999999999h", "1..5s", "nans", ".s", "1 s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_docker_s() {
        for (text, size) in
            [("512m", 512 << 20), ("1.5g", 3 << 29), ("10", 10), ("2KiB", 2048), ("3 MB", 3 << 20), ("1b", 1)]
        {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for wrong in ["", "m", "-1", "1x", "1e20", "999999999999t", "1  m"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}

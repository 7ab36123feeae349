use hostwright_core::config::values::parse_duration;
use jiff::Timestamp;

/// A time as operators give it: itself, or how long ago it was.
pub fn since_when(text: &str) -> anyhow::Result<Timestamp> {
    if let Some(ago) = parse_duration(text) {
        return Ok(Timestamp::now() - ago);
    }
    text.parse().map_err(|_| {
        anyhow::anyhow!("{text:?} is no time: give RFC 3339, such as 2026-11-20T10:00:00Z, or how long ago, such as 2h")
    })
}

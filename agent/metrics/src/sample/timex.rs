use super::{CollectError, Collector, Scrape};
use crate::encode::{Family, Kind};
use nix::errno::Errno;
use nix::libc::timex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What adjtimex(2) returns when the clock is not synchronised.
const TIME_ERROR: i32 = 5;
/// The bit of the status that says that times are in nanoseconds.
const NANOSECONDS: i32 = 0x2000;
const MICROSECOND: f64 = 1e6;
/// Parts per million with 16 bits after the point.
const PPM: f64 = 1e6 * 65536.0;

/// How the kernel keeps the clock, by adjtimex(2).
pub struct Timex {
    families: Vec<(Family, Value)>,
}

/// What the kernel answered.
struct Clock {
    state: i32,
    time: timex,
    /// How many of its units of time are a second.
    unit: f64,
}

/// What is told of it.
type Value = fn(&Clock) -> f64;

impl Timex {
    pub fn new() -> Self {
        let family = |(name, help, kind, value): &(&str, &str, Kind, Value)| {
            (Family::new(&format!("node_timex_{name}"), help, *kind), *value)
        };
        Self { families: VALUES.iter().map(family).collect() }
    }
}

/// In the order of the manual.
const VALUES: &[(&str, &str, Kind, Value)] = &[
    ("sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).", Kind::Gauge, |clock| {
        if clock.state == TIME_ERROR { 0.0 } else { 1.0 }
    }),
    ("offset_seconds", "Time offset in between local system and reference clock.", Kind::Gauge, |clock| {
        clock.time.offset as f64 / clock.unit
    }),
    ("frequency_adjustment_ratio", "Local clock frequency adjustment.", Kind::Gauge, |clock| {
        1.0 + clock.time.freq as f64 / PPM
    }),
    ("maxerror_seconds", "Maximum error in seconds.", Kind::Gauge, |clock| clock.time.maxerror as f64 / MICROSECOND),
    ("estimated_error_seconds", "Estimated error in seconds.", Kind::Gauge, |clock| {
        clock.time.esterror as f64 / MICROSECOND
    }),
    ("status", "Value of the status array bits.", Kind::Gauge, |clock| f64::from(clock.time.status)),
    ("loop_time_constant", "Phase-locked loop time constant.", Kind::Gauge, |clock| clock.time.constant as f64),
    ("tick_seconds", "Seconds between clock ticks.", Kind::Gauge, |clock| clock.time.tick as f64 / MICROSECOND),
    ("pps_frequency_hertz", "Pulse per second frequency.", Kind::Gauge, |clock| clock.time.ppsfreq as f64 / PPM),
    ("pps_jitter_seconds", "Pulse per second jitter.", Kind::Gauge, |clock| clock.time.jitter as f64 / clock.unit),
    ("pps_shift_seconds", "Pulse per second interval duration.", Kind::Gauge, |clock| f64::from(clock.time.shift)),
    ("pps_stability_hertz", "Pulse per second stability, average of recent frequency changes.", Kind::Gauge, |clock| {
        clock.time.stabil as f64 / PPM
    }),
    ("pps_jitter_total", "Pulse per second count of jitter limit exceeded events.", Kind::Counter, |clock| {
        clock.time.jitcnt as f64
    }),
    ("pps_calibration_total", "Pulse per second count of calibration intervals.", Kind::Counter, |clock| {
        clock.time.calcnt as f64
    }),
    ("pps_error_total", "Pulse per second count of calibration errors.", Kind::Counter, |clock| {
        clock.time.errcnt as f64
    }),
    (
        "pps_stability_exceeded_total",
        "Pulse per second count of stability limit exceeded events.",
        Kind::Counter,
        |clock| clock.time.stbcnt as f64,
    ),
    ("tai_offset_seconds", "International Atomic Time (TAI) offset.", Kind::Gauge, |clock| f64::from(clock.time.tai)),
];

/// Asks without setting anything.
fn ask() -> Result<Clock, Errno> {
    #![expect(unsafe_code, reason = "adjtimex(2) with modes 0 only fills the struct, which is given by reference")]
    // SAFETY: every field is a number, for which zero is a value.
    let mut time: timex = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is valid for as long as the call takes.
    let state = Errno::result(unsafe { nix::libc::adjtimex(&raw mut time) })?;
    let unit = if time.status & NANOSECONDS == 0 { MICROSECOND } else { 1e9 };
    Ok(Clock { state, time, unit })
}

impl Collector for Timex {
    fn name(&self) -> &'static str {
        "timex"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let path = || PathBuf::from("adjtimex(2)");
        let clock = ask().map_err(|error| match error {
            // A sandbox that keeps the clock to itself.
            Errno::EPERM | Errno::EACCES => CollectError::NoData { path: path() },
            error => CollectError::Read { path: path(), source: Arc::new(io::Error::from(error)) },
        })?;
        for (family, value) in &self.families {
            scrape.out.family(family).put(value(&clock));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, TIME_ERROR, Timex, VALUES, ask};
    use crate::sample::testing::{captured, samples};

    fn value(clock: &Clock, name: &str) -> f64 {
        VALUES.iter().find(|(known, ..)| *known == name).expect("known").3(clock)
    }

    #[test]
    fn times_are_in_the_unit_of_the_answer_and_ratios_without_their_sixteen_bits() {
        let mut clock = ask().expect("asked");
        (clock.state, clock.unit) = (TIME_ERROR, 1e9);
        (clock.time.offset, clock.time.freq, clock.time.maxerror) = (-500, 65_536_000, 16);
        assert_eq!(value(&clock, "sync_status"), 0.0);
        assert_eq!(value(&clock, "offset_seconds"), -5e-7);
        assert_eq!(value(&clock, "frequency_adjustment_ratio"), 1.001);
        assert_eq!(value(&clock, "maxerror_seconds"), 0.000_016);
    }

    #[test]
    fn this_hosts_clock_is_told() {
        let lines = samples(&mut Timex::new(), &captured("procfs-vm"));
        assert_eq!(lines.len(), 17);
        assert!(lines.iter().any(|line| line.starts_with("node_timex_tick_seconds 0.01")), "{lines:?}");
    }
}

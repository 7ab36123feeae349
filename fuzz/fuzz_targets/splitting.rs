//! Lines and events of several lines are the same whatever pieces they come in.
#![no_main]

use hostwright_fuzz::check;
use hostwright_fuzz::logs::source::joining::{Engine, Inside, Joining, Multiline};
use libfuzzer_sys::fuzz_target;
use regex::bytes::Regex;
use std::sync::LazyLock;
use std::time::Duration;

static JOININGS: LazyLock<[Joining; 5]> = LazyLock::new(|| {
    let multiline = |regex: &str, is_start| {
        let regex = Regex::new(regex).expect("valid");
        Multiline { regex, is_start, timeout: Duration::from_secs(1) }
    };
    let inside = |engine| Joining::Inside(Inside { engine, multiline: multiline(r"^\s", false) });
    [
        Joining::Lines,
        Joining::Multiline(multiline("^[A-Z]", true)),
        Joining::Multiline(multiline(r"^\s", false)),
        inside(Engine::Cri),
        inside(Engine::Docker),
    ]
});

fuzz_target!(|input: (u8, [u8; 6], &[u8])| {
    let (limit, ends, bytes) = input;
    for joining in &*JOININGS {
        // Not shorter than what shows a hole of NULs: no line limit is.
        check(bytes, joining, 16 + usize::from(limit), &mut ends.map(usize::from));
    }
});

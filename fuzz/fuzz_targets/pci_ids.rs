//! A list of PCI devices gives names to numbers whatever it holds: each name is one of its lines, and what has none keeps its
//! number.
#![no_main]

use hostwright_fuzz::metrics::names::{Names, Numbers};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, [&str; 5])| {
    let (list, [vendor, device, subsystem_vendor, subsystem_device, class]) = input;
    let names = Names::parse(list).of(&Numbers { vendor, device, subsystem_vendor, subsystem_device, class });
    let plain = |number: &str| number.trim_start_matches("0x").to_ascii_lowercase();
    for (name, number) in names.iter().zip([vendor, device, subsystem_vendor, subsystem_device]) {
        assert!(*name == plain(number) || list.contains(name.as_str()), "{name:?}");
    }
    assert!(names[4] == format!("Unknown class ({})", plain(class)) || list.contains(names[4].as_str()));
});

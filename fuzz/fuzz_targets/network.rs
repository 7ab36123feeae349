//! A description of the network of any bytes becomes files or is refused; no line of them begins a section of its own.
#![no_main]

use hostwright_fuzz::config::section::Problems;
use hostwright_fuzz::network::interfaces::Interfaces;
use hostwright_fuzz::network::state::State;
use hostwright_fuzz::network::{ifupdown, keyfile, network_data, networkd, version_1, version_2};
use hostwright_fuzz::yaml::{Duplicates, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(document) = load(text, Duplicates::LastWins) else { return };
    let interfaces = Interfaces(vec![("eth0".into(), "fa:16:3e:00:00:01".into())]);
    for which in 0..3 {
        let (mut state, problems) = (State::default(), Problems::default());
        match which {
            0 => version_1::read(&document.root, &mut state, &problems),
            1 => version_2::read(&document.root, &interfaces, &mut state, &problems),
            _ => network_data::read(&document.root, &interfaces, &mut state, &problems),
        }
        for line in ifupdown::file(&state, &interfaces, &problems).split('\n') {
            let first = line.split(' ').next().unwrap_or_default();
            assert!(["", "#", "auto", "iface"].contains(&first), "{line}");
        }
        for file in [networkd::files(&state, &interfaces), keyfile::files(&state, &problems)].concat() {
            assert!(!file.name.contains('/') && !file.name.contains('\0'));
            let is_line = |line: &str| line.is_empty() || line.contains('=') || line.starts_with(['[', '#']);
            assert!(file.content.split('\n').all(is_line), "{}", file.content);
        }
    }
});

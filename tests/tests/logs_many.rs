//! Ten thousand files: a quiet one is heard beside a noisy one, and all are known again after a restart.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hostwright_tests::log_host::{Host, SOON};

#[test]
fn a_quiet_file_among_ten_thousand_is_shipped_within_two_seconds_beside_a_noisy_one() -> Result<()> {
    const FILES: usize = 10_000;
    let mut host = Host::new()?;
    for number in 0..FILES {
        fs::write(host.log(&format!("{number}.log")), "")?;
    }
    let noisy = host.log("noisy.log");
    fs::write(&noisy, "")?;
    let mut agent = host.agent("*.log", "")?;
    agent.wait_status("all are followed", SOON, |status| {
        status["duties"]["logs"]["details"]["sources"]["backend"]["files"] == FILES + 1
    })?;
    host.write("17.log", 1)?;
    host.complete()?;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let neighbour = std::thread::spawn(move || noise(&noisy, &stopped));
    for file in ["3.log", "9999.log"] {
        let start = Instant::now();
        host.write(file, 1)?;
        host.wait_complete()?;
        let took = start.elapsed();
        eprintln!("{file}: {took:?}");
        ensure!(took < Duration::from_secs(5), "{file} took {took:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    neighbour.join().expect("no panic")?;
    // And after a restart with all of them known.
    agent.terminate()?;
    host.write("5000.log", 1)?;
    let start = Instant::now();
    agent.start_again()?;
    host.wait_complete()?;
    eprintln!("first line {:?} after the start", start.elapsed());
    // (A second, on a machine of its own; tests share it, and may be unoptimised.)
    ensure!(start.elapsed() < Duration::from_secs(30), "took {:?}", start.elapsed());
    Ok(())
}

/// Lines that are no numbered ones, as fast as the disk takes them, up to 60 MB. (Long lines, because the test reads what arrived
/// again and again.)
fn noise(path: &PathBuf, stop: &std::sync::atomic::AtomicBool) -> Result<()> {
    let mut file = File::options().append(true).open(path)?;
    let text = format!("{{\"noise\":\"{}\"}}\n", "x".repeat(1000)).repeat(100);
    for _ in 0..600 {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

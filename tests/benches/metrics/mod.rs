//! The metrics duty: CPU time, latency and memory of scrapes; Prometheus' node_exporter beside it in the same run.

/// The programs that are scraped.
mod exporter;
/// Hosts of all sizes.
mod hosts;
/// wrk, which scrapes.
mod load;

use crate::Settings;
use crate::table::{Goal, Table};
use crate::usage::resident;
use anyhow::{Context, Result};
use exporter::Exporter;
use load::{Load, Scrapes};

/// Measures all of it.
pub fn run(_: &Settings, table: &mut Table) {
    this_host(table);
    for kind in hosts::KINDS {
        for count in hosts::COUNTS {
            let work = format!("{count} {}: CPU per scrape", kind.name);
            if table.wants(&work) {
                let (ours, peer) = of_a_host(kind, count);
                table.add((&work, "ms"), Goal::None, ours, peer);
            }
        }
    }
}

/// Both with the same collectors on this host.
fn this_host(table: &mut Table) {
    let work = |what: &str| format!("scrape: {what}");
    let wanted = ["CPU", "p50", "p99", "with gzip: CPU", "memory"].iter().any(|what| table.wants(&work(what)));
    if !wanted {
        return;
    }
    let ours = Exporter::agent("").and_then(|agent| Measured::of(&agent));
    let collectors = ours.as_ref().map(|measured| measured.collectors.clone());
    let peer = collectors
        .map_err(told)
        .and_then(|all| Exporter::original(&all, None))
        .and_then(|original| Measured::of(&original));
    let mut add = |what: &str, unit, goal, figure: fn(&Measured) -> f64| {
        let of = |measured: &Result<Measured>| measured.as_ref().map(figure).map_err(told);
        if table.wants(&work(what)) {
            table.add((&work(what), unit), goal, of(&ours), Some(of(&peer)));
        }
    };
    add("CPU", "ms", Goal::ShareOfPeer(8), |m| m.plain.cpu_ms);
    add("p50", "ms", Goal::ShareOfPeer(6), |m| m.plain.p50_ms);
    add("p99", "ms", Goal::ShareOfPeer(6), |m| m.plain.p99_ms);
    add("with gzip: CPU", "ms", Goal::None, |m| m.gzip.cpu_ms);
    add("with gzip: p50", "ms", Goal::None, |m| m.gzip.p50_ms);
    add("memory", "MB resident", Goal::ShareOfPeer(2), |m| m.resident_mb);
}

fn told(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// What a program under load came to.
#[derive(Debug)]
struct Measured {
    collectors: Vec<String>,
    plain: Scrapes,
    gzip: Scrapes,
    resident_mb: f64,
}

impl Measured {
    fn of(exporter: &Exporter) -> Result<Self> {
        let collectors = exporter.collectors()?;
        let plain = Load { seconds: 10, gzip: false }.on(exporter)?;
        let gzip = Load { seconds: 5, gzip: true }.on(exporter)?;
        let resident_mb = resident(exporter.process()).context("after the load")?;
        Ok(Self { collectors, plain, gzip, resident_mb })
    }
}

/// Both on a tree of a host with so many of a kind; ours alone where the other one has nothing of it.
fn of_a_host(kind: hosts::Kind, count: usize) -> (Result<f64>, Option<Result<f64>>) {
    // Its namespaces, if it has some, are the thread's.
    std::thread::scope(|scope| scope.spawn(|| measured(kind, count)).join())
        .unwrap_or_else(|_| (Err(anyhow::anyhow!("the thread that measures ended")), None))
}

fn measured(kind: hosts::Kind, count: usize) -> (Result<f64>, Option<Result<f64>>) {
    let host = hosts::Host::new(kind, count);
    let of = |exporter: Result<Exporter>| Ok(Load { seconds: 3, gzip: false }.on(&exporter?)?.cpu_ms);
    match &host {
        Ok(host) => {
            let peer = || of(Exporter::original(&host.collectors(), host.tree()));
            (of(Exporter::agent(&host.settings())), host.has_peer().then(peer))
        }
        Err(error) => (Err(told(error)), None),
    }
}

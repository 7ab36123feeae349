//! Many cases of one test, at once.

use std::fmt::Display;
use std::thread;

use anyhow::{Result, ensure};

/// Runs each case on a thread of its own. The error tells all that failed, by name.
pub fn all_hold<N: Display, C: FnOnce() -> Result<()> + Send>(cases: impl IntoIterator<Item = (N, C)>) -> Result<()> {
    let results: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = cases.into_iter().map(|(name, case)| (name, scope.spawn(case))).collect();
        runs.into_iter().map(|(name, run)| (name, run.join())).collect()
    });
    let mut failures = Vec::new();
    for (name, result) in results {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failures.push(format!("{name}: {error:#}")),
            Err(_) => failures.push(format!("{name}: it panicked")),
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::all_hold;

    #[test]
    fn whatever_fails_is_named() {
        let case = |number: u32| {
            (number, move || {
                assert_ne!(number, 1, "a panic");
                anyhow::ensure!(number != 2, "an error");
                Ok(())
            })
        };
        assert!(all_hold([case(0), case(3)]).is_ok());
        let told = all_hold([0, 1, 2].map(case)).map_err(|error| error.to_string());
        assert_eq!(told, Err("1: it panicked\n2: an error".to_owned()));
    }
}

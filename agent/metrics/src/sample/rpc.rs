//! `/proc/net/rpc/nfs` and `nfsd`: on each line a key and its numbers.

use super::{CollectError, KernelFile, number, words};
use crate::encode::{Labels, Samples};
use std::path::PathBuf;

/// A key, and how many numbers follow it at least.
type Expected = (&'static str, usize);

/// One of the two files.
pub struct Rpc {
    file: KernelFile,
    expected: &'static [Expected],
    /// Of each key.
    numbers: Vec<Vec<u64>>,
}

impl Rpc {
    /// A file in which these lines are wanted; kernels have others, and not all of these.
    pub fn new(path: PathBuf, expected: &'static [Expected]) -> Self {
        Self { file: KernelFile::new(path), expected, numbers: vec![Vec::new(); expected.len()] }
    }

    /// Takes the numbers of now.
    pub fn read(&mut self) -> Result<(), CollectError> {
        let text = self.file.read()?;
        self.numbers.iter_mut().for_each(Vec::clear);
        for line in text.lines() {
            let mut words = words(line);
            let Some(key) = words.next() else { continue };
            let Some(at) = self.expected.iter().position(|(known, _)| known.as_bytes() == key) else { continue };
            // Old kernels have times after the numbers of threads.
            let taken = if key == b"th" { 2 } else { usize::MAX };
            for word in words.take(taken) {
                let value = number(word).ok_or_else(|| text.malformed("a key with numbers", line))?;
                self.numbers[at].push(value);
            }
            let numbers = &self.numbers[at];
            // Procedures are led by their count.
            let is_whole = !key.starts_with(b"proc")
                || numbers.split_first().is_some_and(|(count, rest)| *count == rest.len() as u64);
            if numbers.len() < self.expected[at].1 || !is_whole {
                return Err(text.malformed("a key with all its numbers", line));
            }
        }
        Ok(())
    }

    /// A number by its place after the key; 0 where this kernel has no such line.
    pub fn number(&self, key: &str, at: usize) -> u64 {
        let line = self.expected.iter().position(|(known, _)| *known == key);
        line.and_then(|line| self.numbers[line].get(at)).copied().unwrap_or_default()
    }
}

/// The procedures of a version of NFS, in the order of the kernel.
pub struct Procedures {
    key: &'static str,
    /// With their places on the line.
    labels: Vec<(usize, Labels)>,
}

impl Procedures {
    /// Those of a line; one without name is not told.
    pub fn new(key: &'static str, version: &str, names: &[&str]) -> Self {
        let labels = |name: &str| Labels::new(&[("method", name.as_bytes()), ("proto", version.as_bytes())]);
        // The first number is the count.
        let named = names.iter().enumerate().filter(|(_, name)| !name.is_empty());
        Self { key, labels: named.map(|(at, name)| (at + 1, labels(name))).collect() }
    }
}

/// Writes how often each procedure was called.
pub fn write_procedures(samples: &mut Samples<'_>, rpc: &Rpc, procedures: &[Procedures]) {
    for version in procedures {
        for (at, labels) in &version.labels {
            samples.with(labels, rpc.number(version.key, *at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rpc;
    use crate::sample::testing::tree;

    const EXPECTED: &[super::Expected] = &[("net", 4), ("th", 2), ("proc3", 3)];

    fn read(text: &str) -> Result<[u64; 3], String> {
        let (_folder, roots) = tree(&[("proc/net/rpc/nfsd", text)]);
        let mut rpc = Rpc::new(roots.procfs.join("net/rpc/nfsd"), EXPECTED);
        rpc.read().map_err(|error| error.to_string())?;
        Ok([rpc.number("net", 3), rpc.number("th", 0), rpc.number("proc3", 2)])
    }

    #[test]
    fn lines_that_are_unknown_or_missing_are_no_error_and_times_of_threads_are_passed_over() {
        assert_eq!(read("new 1 2 x\nnet 1 2 3 4\nth 8 0 0.000 1.5\nproc3 2 5 6\n"), Ok([4, 8, 6]));
        assert_eq!(read("\n"), Ok([0, 0, 0]));
    }

    #[test]
    fn lines_that_are_too_short_or_no_numbers_are_refused() {
        for text in ["net 1 2 3\n", "net 1 2 3 x\n", "th 1\n", "proc3 3 5 6\n", "proc3 1 5\n", "proc3\n"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

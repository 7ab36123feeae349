use super::{CollectError, Collector, KernelFile, Roots, Scrape, number, words};
use crate::encode::{Family, Labels};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Long enough for the fields that are taken, whatever the process calls itself.
const MOST_READ: usize = 1024;
/// proc_pid_stat(5), counted from the state, which follows the name.
const THREADS: usize = 17;
/// A process that ended meanwhile.
const ESRCH: i32 = 3;

/// Processes and threads by state, and how many there may be.
pub struct Processes {
    procfs: PathBuf,
    is_live: bool,
    threads_max: KernelFile,
    pid_max: KernelFile,
    families: Families,
    /// In place of a new one for each process.
    path: PathBuf,
    processes: States,
    threads: States,
}

struct Families {
    threads: Family,
    threads_max: Family,
    threads_state: Family,
    state: Family,
    pids: Family,
    pid_max: Family,
}

/// Counted by the kernel's letter.
struct States {
    label: &'static str,
    counts: Vec<(u8, Labels, u64)>,
}

impl States {
    fn count(&mut self, state: u8) {
        match self.counts.iter_mut().find(|(known, ..)| *known == state) {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((state, Labels::new(&[(self.label, &[state])]), 1)),
        }
    }

    /// As in the original, states that nothing is in are left out.
    fn write(&self, family: &Family, scrape: &mut Scrape<'_>) {
        let mut samples = scrape.out.family(family);
        let there = self.counts.iter().filter(|(_, _, count)| *count > 0);
        there.for_each(|(_, labels, count)| samples.with(labels, *count));
    }
}

impl Processes {
    pub fn new(roots: &Roots) -> Self {
        let file = |path| KernelFile::new(roots.procfs.join(path));
        let gauge = |name: &str, help: &str| Family::gauge(&format!("node_processes_{name}"), help);
        Self {
            procfs: roots.procfs.clone(),
            is_live: roots.are_live(),
            threads_max: file("sys/kernel/threads-max"),
            pid_max: file("sys/kernel/pid_max"),
            families: Families {
                threads: gauge("threads", "Allocated threads in system"),
                threads_max: gauge("max_threads", "Limit of threads in the system"),
                threads_state: gauge("threads_state", "Number of threads in each state."),
                state: gauge("state", "Number of processes in each state."),
                pids: gauge("pids", "Number of PIDs"),
                pid_max: gauge("max_processes", "Number of max PIDs limit"),
            },
            path: PathBuf::new(),
            processes: States { label: "state", counts: Vec::new() },
            threads: States { label: "thread_state", counts: Vec::new() },
        }
    }

    /// Counts states; returns the number of processes and that of their threads.
    fn count(&mut self) -> Result<(u64, u64), CollectError> {
        let counts = self.processes.counts.iter_mut().chain(&mut self.threads.counts);
        counts.for_each(|(_, _, count)| *count = 0);
        let (mut pids, mut threads) = (0, 0_u64);
        for entry in fs::read_dir(&self.procfs).map_err(|error| CollectError::reading(&self.procfs, error))? {
            let entry = entry.map_err(|error| CollectError::reading(&self.procfs, error))?;
            let name = entry.file_name();
            if number(name.as_encoded_bytes()).is_none() {
                continue;
            }
            self.path.clone_from(&self.procfs);
            self.path.push(&name);
            self.path.push("stat");
            let Some((state, count)) = stat(&self.path)? else { continue };
            pids += 1;
            threads = threads.saturating_add(count);
            self.processes.count(state);
            if count == 1 && self.is_live {
                // Its only thread is in the state that the process is in; captured trees need not have its folder.
                self.threads.count(state);
                continue;
            }
            self.path.pop();
            self.path.push("task");
            self.count_threads(state, &name)?;
        }
        Ok((pids, threads))
    }

    fn count_threads(&mut self, state: u8, pid: &std::ffi::OsStr) -> Result<(), CollectError> {
        let tasks = match fs::read_dir(&self.path) {
            Ok(tasks) => tasks,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(CollectError::reading(&self.path, error)),
        };
        for task in tasks {
            // The process may end while its threads are listed.
            let Ok(task) = task else { return Ok(()) };
            let name = task.file_name();
            if name == *pid {
                self.threads.count(state);
                continue;
            }
            if number(name.as_encoded_bytes()).is_none() {
                continue;
            }
            self.path.push(&name);
            self.path.push("stat");
            let read = stat(&self.path);
            self.path.pop();
            self.path.pop();
            if let Some((state, _)) = read? {
                self.threads.count(state);
            }
        }
        Ok(())
    }
}

/// State and number of threads; none of a process that is gone.
fn stat(path: &Path) -> Result<Option<(u8, u64)>, CollectError> {
    let mut text = [0; MOST_READ];
    let length = match File::open(path).and_then(|mut file| file.read(&mut text)) {
        Ok(length) => length,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(CollectError::reading(path, error)),
    };
    let text = &text[..length];
    parse(text).map(Some).ok_or_else(|| CollectError::Malformed {
        path: path.to_owned(),
        what: format!("expected a process's state and threads, found {:?}", String::from_utf8_lossy(text)),
    })
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// The name in parentheses may hold anything, parentheses included.
fn parse(text: &[u8]) -> Option<(u8, u64)> {
    let mut words = words(text.get(memchr::memrchr(b')', text)? + 1..)?);
    let state = *words.next()?.first()?;
    Some((state, number(words.nth(THREADS - 1)?)?))
}

fn limit(file: &mut KernelFile) -> Result<u64, CollectError> {
    let text = file.read()?;
    number(text.bytes.trim_ascii()).ok_or_else(|| text.malformed("a number", text.bytes))
}

impl Collector for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn collect(&mut self, scrape: &mut Scrape<'_>) -> Result<(), CollectError> {
        let (pids, threads) = self.count()?;
        let families = &self.families;
        scrape.out.family(&families.threads).put(threads);
        for (file, family) in [(&mut self.threads_max, &families.threads_max), (&mut self.pid_max, &families.pid_max)] {
            match limit(file) {
                Ok(limit) => scrape.out.family(family).put(limit),
                Err(error) => scrape.failed = Some(error),
            }
        }
        self.processes.write(&families.state, scrape);
        self.threads.write(&families.threads_state, scrape);
        scrape.out.family(&families.pids).put(pids);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Processes, parse};
    use crate::sample::testing::{collect, samples, tree};

    fn line(pid: u32, state: char, threads: u32) -> String {
        format!("{pid} (a b) c) {state} 1 2 3 0 -1 4194560 1 0 0 0 14 15 0 0 20 0 {threads} 0 22 23 24\n")
    }

    #[test]
    fn processes_and_threads_are_counted_by_state() {
        let [one, two, three, four] = [line(1, 'S', 1), line(2, 'S', 2), line(3, 'D', 1), line(2, 'R', 2)];
        let (_folder, roots) = tree(&[
            ("proc/1/stat", &one),
            ("proc/2/stat", &two),
            ("proc/2/task/2/stat", &two),
            ("proc/2/task/3/stat", &three),
            ("proc/7/task/7/comm", "gone"),
            ("proc/sys/kernel/threads-max", "7801\n"),
            ("proc/sys/kernel/pid_max", "4194304\n"),
            ("proc/stat", "cpu 1\n"),
        ]);
        let mut processes = Processes::new(&roots);
        let want = [
            "node_processes_threads 3",
            "node_processes_max_threads 7801",
            "node_processes_max_processes 4194304",
            r#"node_processes_state{state="S"} 2"#,
            r#"node_processes_threads_state{thread_state="S"} 1"#,
            r#"node_processes_threads_state{thread_state="D"} 1"#,
            "node_processes_pids 2",
        ];
        let mut lines = samples(&mut processes, &roots);
        // The order of threads is that of the folder.
        if lines[4].contains('D') {
            lines.swap(4, 5);
        }
        assert_eq!(lines, want);
        std::fs::write(roots.procfs.join("2/stat"), four).expect("written");
        let lines = samples(&mut processes, &roots);
        assert!(lines.contains(&r#"node_processes_state{state="R"} 1"#.to_owned()), "{lines:?}");
        std::fs::write(roots.procfs.join("1/stat"), "1 (x) S 1\n").expect("written");
        assert!(collect(&mut processes, &roots).is_err());
    }

    #[test]
    fn what_is_no_process_is_refused() {
        assert_eq!(parse(line(9, 'Z', 12).as_bytes()), Some((b'Z', 12)));
        assert_eq!((parse(b""), parse(b")"), parse(b"1 (x) ")), (None, None, None));
    }
}

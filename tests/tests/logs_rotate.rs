//! Rotation by the agent: nothing is lost while its writer writes on, what is kept is within limits, and a rotation that
//! was cut off is gone on with.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use hostwright_tests::engines::rsyslog::Rsyslog;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// A folder with a log, and the agent that follows and rotates it.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new() -> Result<Self> {
        let host = Self { folder: tempfile::tempdir()? };
        fs::create_dir(host.path("log"))?;
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("log/app.log")
    }

    fn agent(&self, rotate: &str) -> Result<AgentProcess> {
        self.agent_with(rotate, &format!("{{file: {{path: '{}'}}}}", self.path("archive").display()))
    }

    fn agent_with(&self, rotate: &str, output: &str) -> Result<AgentProcess> {
        AgentProcess::start(&format!(
            "logs:\n  sources:\n    s: {{files: ['{}*'], rotate: {rotate}, outputs: [o]}}\n  outputs:\n    o: {output}\n",
            self.log().display(),
        ))
    }

    /// Names in the log's folder.
    fn names(&self) -> Result<BTreeSet<String>> {
        fs::read_dir(self.path("log"))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn arrived(&self) -> Result<Vec<usize>> {
        let text = fs::read_to_string(self.path("archive")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let number = |line: &str| {
            let record: Value = serde_json::from_str(line)?;
            let message = record["message"].as_str().context("no message")?;
            message.split(' ').nth(1).and_then(|word| word.parse().ok()).with_context(|| format!("no number: {line}"))
        };
        whole.lines().map(number).collect()
    }

    fn wait_arrived(&self, count: usize) -> Result<Vec<usize>> {
        eventually(&format!("{count} different lines"), SOON, || {
            let arrived = self.arrived()?;
            let different = arrived.iter().collect::<BTreeSet<_>>().len();
            ensure!(different == count, "{different} of {count}");
            Ok(arrived)
        })
    }

    /// Waits until nothing is being rotated: the log is smaller than what it is rotated at.
    fn wait_rotated(&self, size: u64) -> Result<()> {
        eventually("the last rotation is done", SOON, || {
            let found = self.log().metadata()?.len();
            ensure!(found < size, "{found} bytes");
            Ok(())
        })
    }

    /// What all generations have, the decompressed ones too, and the log itself.
    fn on_disk(&self) -> Result<BTreeSet<usize>> {
        let mut all = BTreeSet::new();
        for name in self.names()? {
            let path = self.path("log").join(&name);
            let text = match path.extension().and_then(|ending| ending.to_str()) {
                Some("gz") => output_of("gzip", &path)?,
                Some("zst") => output_of("zstd", &path)?,
                _ => fs::read_to_string(&path)?,
            };
            all.extend(text.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<usize>().ok()));
        }
        Ok(all)
    }
}

/// Lines that are in no file. Each generation has its lines without a hole: what is missing was written between the last
/// look of who copied and the truncation, where nobody can read it.
fn lost_at_truncations(host: &Host, count: usize) -> Result<usize> {
    let on_disk = host.on_disk()?;
    let mut ends = BTreeSet::from([count]);
    for name in host.names()? {
        let text = fs::read_to_string(host.path("log").join(&name))?;
        let numbers: Vec<usize> = text.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
        let Some((first, last)) = numbers.first().zip(numbers.last()) else { continue };
        ensure!(last - first + 1 == numbers.len(), "{name} has {first} to {last} in {} lines", numbers.len());
        ends.insert(last + 1);
    }
    let missing: Vec<usize> = (0..count).filter(|number| !on_disk.contains(number)).collect();
    for number in &missing {
        let is_behind_an_end = ends.contains(number) || missing.binary_search(&(number - 1)).is_ok();
        ensure!(is_behind_an_end, "line {number} is in no file, and not at a truncation");
    }
    Ok(missing.len())
}

fn output_of(program: &str, path: &Path) -> Result<String> {
    let output = Command::new(program).arg("-dc").arg(path).output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn line(number: usize) -> String {
    format!("line {number} {}\n", "x".repeat(90))
}

fn rotation(status: &Value) -> &Value {
    &status["duties"]["logs"]["details"]["sources"]["s"]["rotation"]
}

/// Appends lines until told to stop; how many. The file is opened again when `reopen` appears.
fn write_on(log: PathBuf, reopen: PathBuf, stop: Arc<AtomicBool>) -> JoinHandle<Result<usize>> {
    thread::spawn(move || {
        let open = || File::options().append(true).create(true).open(&log);
        let (mut file, mut count) = (open()?, 0);
        while !stop.load(Ordering::Relaxed) {
            file.write_all(line(count).as_bytes())?;
            count += 1;
            if count % 20 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            if fs::remove_file(&reopen).is_ok() {
                file = open()?;
            }
        }
        Ok(count)
    })
}

#[test]
fn a_log_is_renamed_at_a_size_and_its_writer_told_and_no_line_is_lost() -> Result<()> {
    let host = Host::new()?;
    fs::write(host.log(), "")?;
    fs::set_permissions(host.log(), Permissions::from_mode(0o640))?;
    let (reopen, stop) = (host.path("reopen"), Arc::new(AtomicBool::new(false)));
    let writer = write_on(host.log(), reopen.clone(), stop.clone());
    let agent = host.agent(&format!("{{size: 100KiB, command: [/bin/touch, '{}']}}", reopen.display()))?;
    agent.wait_status("it was rotated", SOON, |status| rotation(status)["rotated"].as_u64() >= Some(3))?;
    stop.store(true, Ordering::Relaxed);
    let count = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let arrived = host.wait_arrived(count)?;
    ensure!(arrived.len() == count, "{} duplicates", arrived.len() - count);
    host.wait_rotated(100 << 10)?;
    ensure!(host.on_disk()?.len() == count, "on disk: {}", host.on_disk()?.len());
    ensure!(host.log().metadata()?.mode() & 0o777 == 0o640, "{:o}", host.log().metadata()?.mode());
    ensure!(
        host.names()?.iter().all(|name| name == "app.log" || name.starts_with("app.log-20")),
        "{:?}",
        host.names()?
    );
    Ok(())
}

#[test]
fn a_signal_goes_to_the_process_that_a_file_names() -> Result<()> {
    let host = Host::new()?;
    fs::write(host.log(), line(0).repeat(50))?;
    let (told, pid_file) = (host.path("told"), host.path("pid"));
    let script = format!(
        "trap 'touch {}; exit' USR1; echo $$ > {}; while :; do sleep 0.1; done",
        told.display(),
        pid_file.display()
    );
    let mut writer = Command::new("sh").arg("-c").arg(script).spawn()?;
    eventually("it runs", SOON, || fs::read_to_string(&pid_file).is_ok_and(|text| !text.is_empty()))?;
    let _agent =
        host.agent(&format!("{{size: 4KiB, signal: {{pid_file: '{}', signal: USR1}}}}", pid_file.display()))?;
    let result = eventually("it was told", SOON, || told.exists());
    let _ = writer.kill();
    writer.wait()?;
    result
}

#[test]
fn a_log_that_its_writer_keeps_open_is_copied_and_emptied() -> Result<()> {
    let host = Host::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_on(host.log(), host.path("never"), stop.clone());
    let agent = host.agent("{size: 100KiB, method: copytruncate, suffix: number}")?;
    agent.wait_status("it was rotated", SOON, |status| rotation(status)["rotated"].as_u64() >= Some(3))?;
    stop.store(true, Ordering::Relaxed);
    let count = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    host.wait_rotated(100 << 10)?;
    let on_disk = host.on_disk()?.len();
    let lost = lost_at_truncations(&host, count)?;
    ensure!(lost == count - on_disk && lost * 100 <= count, "{on_disk} of {count} are on disk");
    eprintln!("{lost} of {count} lines lost between copy and truncation");
    let arrived = host.wait_arrived(on_disk)?;
    eprintln!("{} duplicates", arrived.len() - on_disk);
    ensure!(host.names()?.contains("app.log.3") && !host.names()?.contains("app.log.9"), "{:?}", host.names()?);
    Ok(())
}

/// Kills the agent again and again while it rotates; how many lines were written, are on disk, and came twice.
fn killed_while_it_rotates(how: &str) -> Result<(Host, [usize; 3])> {
    let host = Host::new()?;
    let (reopen, stop) = (host.path("reopen"), Arc::new(AtomicBool::new(false)));
    let writer = write_on(host.log(), reopen.clone(), stop.clone());
    let how = how.replace("TOUCH", &format!("[/bin/touch, '{}']", reopen.display()));
    let mut agent = host.agent(&how)?;
    for round in 1..=8u64 {
        let before = host.names()?.len();
        eventually("it rotates", SOON, || {
            ensure!(host.names()?.len() > before, "not yet");
            Ok(())
        })?;
        // At whatever step it is by then.
        thread::sleep(Duration::from_millis(round * 7 % 40));
        agent.kill9()?;
        agent.start_again()?;
    }
    stop.store(true, Ordering::Relaxed);
    let count = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    host.wait_rotated(64 << 10)?;
    let on_disk = host.on_disk()?.len();
    let arrived = host.wait_arrived(on_disk)?;
    Ok((host, [count, on_disk, arrived.len() - on_disk]))
}

#[test]
fn kills_while_a_log_is_renamed_lose_nothing() -> Result<()> {
    let (_, [count, on_disk, duplicates]) =
        killed_while_it_rotates("{size: 64KiB, suffix: number, compress: gzip, command: TOUCH}")?;
    eprintln!("{count} lines, {duplicates} duplicates");
    ensure!(on_disk == count, "on disk: {on_disk} of {count}");
    Ok(())
}

#[test]
fn kills_while_a_log_is_copied_and_emptied_lose_no_more_than_that_way_does() -> Result<()> {
    let (host, [count, on_disk, duplicates]) =
        killed_while_it_rotates("{size: 64KiB, suffix: number, method: copytruncate}")?;
    let lost = lost_at_truncations(&host, count)?;
    eprintln!("{count} lines, {lost} lost, {duplicates} duplicates");
    ensure!(lost == count - on_disk && lost * 100 <= count, "on disk: {on_disk} of {count}");
    Ok(())
}

#[test]
fn shipped_generations_are_compressed_once_and_never_shipped_again() -> Result<()> {
    for (method, ending) in [("gzip", ".gz"), ("zstd", ".zst")] {
        let host = Host::new()?;
        fs::write(host.log(), (0..1000).map(line).collect::<String>())?;
        let mut agent = host.agent(&format!("{{size: 50KiB, compress: {method}}}"))?;
        let compressed = || Ok::<_, anyhow::Error>(host.names()?.iter().filter(|name| name.ends_with(ending)).count());
        eventually("it is compressed", SOON, || compressed().is_ok_and(|count| count == 1))?;
        ensure!(host.names()?.len() == 2, "{:?}", host.names()?);
        ensure!(host.on_disk()?.len() == 1000, "{}", host.on_disk()?.len());
        for more in 0..2 {
            agent.terminate()?;
            agent.start_again()?;
            let mut file = File::options().append(true).open(host.log())?;
            file.write_all(line(1000 + more).as_bytes())?;
            host.wait_arrived(1001 + more)?;
        }
        ensure!(host.arrived()?.len() == 1002, "{} lines of 1002", host.arrived()?.len());
    }
    Ok(())
}

#[test]
fn generations_beyond_the_limit_are_deleted_when_every_output_has_them_and_not_before() -> Result<()> {
    let host = Host::new()?;
    let mut receiver = Rsyslog::start()?;
    receiver.stop()?;
    let output = format!("{{syslog: {{address: '{}'}}}}", receiver.address());
    fs::write(host.log(), "")?;
    let agent = host.agent_with("{size: 10KiB, keep_files: 2}", &output)?;
    for round in 1..=5u64 {
        let mut file = File::options().append(true).open(host.log())?;
        file.write_all((0..200).map(line).collect::<String>().as_bytes())?;
        agent.wait_status("it was rotated", SOON, |status| rotation(status)["rotated"].as_u64() >= Some(round))?;
    }
    // More than a look at all rotated files later, all are there.
    agent.wait_status("they were looked at", SOON, |status| rotation(status)["unknown"] == 0)?;
    thread::sleep(Duration::from_secs(6));
    ensure!(host.names()?.len() == 6, "{:?}", host.names()?);
    receiver.start_again()?;
    agent.wait_status("those beyond are deleted", SOON, |status| rotation(status)["deleted"] == 3)?;
    ensure!(host.names()?.len() == 3, "{:?}", host.names()?);
    ensure!(rotation(&agent.status()?)["forced"] == 0, "{}", agent.status()?);
    Ok(())
}

#[test]
fn a_stated_limit_forces_the_oldest_out_and_says_what_was_lost() -> Result<()> {
    let host = Host::new()?;
    let mut receiver = Rsyslog::start()?;
    receiver.stop()?;
    let output = format!("{{syslog: {{address: '{}'}}}}", receiver.address());
    fs::write(host.log(), "")?;
    let agent = host.agent_with("{size: 10KiB, force_bytes: 45KiB}", &output)?;
    for round in 1..=4u64 {
        let mut file = File::options().append(true).open(host.log())?;
        file.write_all((0..200).map(line).collect::<String>().as_bytes())?;
        agent.wait_status("it was rotated", SOON, |status| rotation(status)["rotated"].as_u64() >= Some(round))?;
    }
    let lost = agent.wait_status("the oldest are gone", SOON, |status| rotation(status)["forced"] == 2)?;
    ensure!(rotation(&lost)["forced_bytes"].as_u64() > Some(35_000), "{}", rotation(&lost));
    ensure!(agent.output().contains("were not shipped: they are lost"), "{}", agent.output());
    ensure!(host.names()?.len() == 3, "{:?}", host.names()?);
    Ok(())
}

#[test]
fn a_log_of_yesterday_is_rotated_at_the_start_to_its_own_date_and_an_empty_one_never() -> Result<()> {
    let host = Host::new()?;
    let yesterday = SystemTime::now() - Duration::from_secs(2 * 86400);
    fs::write(host.log(), line(0))?;
    let empty = host.path("log/app.log.empty");
    fs::write(&empty, "")?;
    let mut agent = host.agent("{every: day}")?;
    host.wait_arrived(1)?;
    // The file is of today, and so is what is known of it.
    ensure!(host.names()?.len() == 2, "{:?}", host.names()?);
    let record = agent.state_folder().join("logs/rotations.json");
    eventually("it is noted since when the log is one", SOON, || record.exists())?;
    agent.terminate()?;
    let mut text = String::new();
    File::open(&record)?.read_to_string(&mut text)?;
    let mut stored: Value = serde_json::from_str(&text)?;
    for log in stored["content"]["logs"].as_object_mut().context("no logs")?.values_mut() {
        log["since"] = "2026-11-01T00:00:00Z".into();
    }
    fs::write(&record, stored.to_string())?;
    File::options().append(true).open(host.log())?.set_modified(yesterday)?;
    agent.start_again()?;
    agent.wait_status("it was rotated", SOON, |status| rotation(status)["rotated"] == 1)?;
    let names = host.names()?;
    ensure!(names.len() == 3 && names.contains("app.log.empty"), "{names:?}");
    let day = Command::new("date").args(["-d", "2 days ago", "+app.log-%Y-%m-%d"]).output()?;
    ensure!(names.contains(String::from_utf8(day.stdout)?.trim()), "{names:?}");
    ensure!(host.arrived()?.len() == 1, "{:?}", host.arrived()?);
    Ok(())
}

#[test]
fn a_log_whose_name_is_not_utf_8_is_not_rotated_which_is_told() -> Result<()> {
    let host = Host::new()?;
    fs::write(host.path("log").join(OsStr::from_bytes(b"app.log-caf\xe9")), line(0))?;
    let agent = host.agent("{size: 10KiB}")?;
    agent.wait_status("it is told", SOON, |status| {
        status["duties"]["logs"]["why"].as_str().is_some_and(|why| why.contains("its name is not UTF-8"))
    })?;
    host.wait_arrived(1)?;
    Ok(())
}

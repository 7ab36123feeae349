//! What operators ask of the logs duty, through the command that they type: how far it is, whether its ledger holds,
//! that it sends something again, and what a platform says to a test.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hostwright_tests::process::{AgentProcess, binary};
use hostwright_tests::receivers::bulk::{BulkPlatform, Setup};
use hostwright_tests::wait::eventually;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(40);

/// A host with one source, whose lines go to a platform that refuses a field `n` that is no number, and to a file.
struct Host {
    folder: TempDir,
    platform: BulkPlatform,
    agent: AgentProcess,
}

impl Host {
    fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// With further settings of the source.
    fn start_with(settings: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let setup = Setup { long_fields: ["n".to_owned()].into(), ..Setup::default() };
        let platform = BulkPlatform::start(setup)?;
        let path = folder.path().display();
        let config = format!(
            "host: {{name: testhost}}\n\
             logs:\n  sources:\n    app: {{files: ['{path}/app.log'], {settings}parse: json, outputs: [es, archive]}}\n  outputs:\n    \
             es: {{bulk: {{url: '{}', index: app}}}}\n    archive: {{file: {{path: '{path}/out'}}}}\n",
            platform.url()
        );
        let mut agent = AgentProcess::start(&config)?;
        agent.wait_ready(SOON)?;
        Ok(Self { folder, platform, agent })
    }

    fn write(&self, text: &str) -> Result<()> {
        let path = self.folder.path().join("app.log");
        Ok(File::options().create(true).append(true).open(path)?.write_all(text.as_bytes())?)
    }

    /// `hostwright-agent logs …`
    fn logs(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary("hostwright-agent")?);
        command.arg("logs").args(arguments).arg("--socket").arg(self.agent.socket());
        Ok(command.output()?)
    }

    fn said(&self, arguments: &[&str]) -> Result<String> {
        let output = self.logs(arguments)?;
        let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "logs {arguments:?}: {text}{error}");
        Ok(text.into_owned())
    }

    fn verify(&self) -> Result<(bool, String)> {
        let state = self.agent.state_folder();
        let output = self.logs(&["verify", "--state", state.to_str().context("text")?])?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn wait_documents(&self, count: usize) -> Result<()> {
        eventually("the documents are there", SOON, || self.platform.documents().len() == count)?;
        Ok(())
    }
}

#[test]
fn refused_lines_are_dead_letters_that_the_ledger_counts_and_that_go_again_when_the_platform_takes_them() -> Result<()>
{
    let host = Host::start()?;
    host.write("{\"n\":1}\n{\"n\":\"two\"}\n{\"n\":3}\n{\"n\":\"four, longer\"}\n")?;
    host.wait_documents(2)?;
    let size = fs::metadata(host.folder.path().join("app.log"))?.len();
    let dead = "{\"n\":\"two\"}\n{\"n\":\"four, longer\"}\n".len();
    eventually("the ledger holds", SOON, || {
        let (holds, text) = host.verify()?;
        let row = text.lines().find(|line| line.starts_with("es ")).context("no row yet")?;
        let cells: Vec<_> = row.split_whitespace().collect();
        ensure!(
            holds
                && cells[1..6] == [&size.to_string(), &(size as usize - dead).to_string(), "0", "0", &dead.to_string()],
            "{text}"
        );
        Ok(())
    })?;
    let table = eventually("the table counts them", SOON, || {
        let table = host.said(&[])?;
        ensure!(
            table.lines().any(|line| line.starts_with("app ") && line.contains(" es ") && line.ends_with(" 2")),
            "{table}"
        );
        Ok(table)
    })?;
    ensure!(table.contains("document_parsing_exception") || table.contains("mapper_parsing_exception"), "{table}");

    // Refused once more: still dead letters, and none of them twice.
    host.said(&["resend", "--dead-letters", "--output", "es"])?;
    let letters = host.agent.state_folder().join("logs/dead-letters-es.ndjson");
    let aside = host.agent.state_folder().join("logs/dead-letters-es.replay.ndjson");
    eventually("both are dead letters again", SOON, || {
        !aside.exists() && fs::read_to_string(&letters).is_ok_and(|text| text.lines().count() == 2)
    })?;
    // The platform's operator mends the mapping.
    host.platform.change(|setup| setup.long_fields.clear());
    host.said(&["resend", "--dead-letters", "--output", "es"])?;
    host.wait_documents(4)?;
    eventually("no dead letters are left", SOON, || !aside.exists() && !letters.exists())?;
    host.platform.check()
}

#[test]
fn what_was_written_since_a_time_is_sent_again_and_a_platform_that_takes_ids_has_it_once() -> Result<()> {
    let host = Host::start()?;
    let line = |hour, n| format!("{{\"time\":\"2026-11-20T{hour:02}:00:00Z\",\"n\":{n}}}\n");
    host.write(&(0..24).map(|hour| line(hour, hour)).collect::<String>())?;
    host.wait_documents(24)?;
    let archive = || fs::read_to_string(host.folder.path().join("out")).map(|text| text.lines().count()).unwrap_or(0);
    eventually("the archive has it too", SOON, || archive() == 24)?;
    let said = host.said(&["resend", "--since", "2026-11-20T20:00:00Z"])?;
    ensure!(said.contains("archive: ") && said.contains("es: "), "{said}");
    eventually("the archive has the last four hours twice", SOON, || archive() == 28)?;
    eventually("the platform knew them", SOON, || host.platform.counts().conflicts == 4)?;
    ensure!(host.platform.documents().len() == 24);
    host.platform.check()
}

#[test]
fn a_test_line_shows_what_the_platform_says() -> Result<()> {
    let mut host = Host::start()?;
    ensure!(host.said(&["test", "es"])?.contains("took it"));
    ensure!(host.platform.field("message").iter().any(|text| text == "a test of hostwright-agent"));
    ensure!(host.said(&["test", "archive", "--line", "hello"])?.contains("written"));
    host.platform.stop();
    let output = host.logs(&["test", "es"])?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && error.contains("cannot connect"), "{error}");
    let output = host.logs(&["test", "nobody"])?;
    ensure!(String::from_utf8_lossy(&output.stderr).contains("there are archive, es"));
    Ok(())
}

#[test]
fn when_lines_will_be_lost_is_told_before_they_are_and_no_longer_when_the_output_goes_on() -> Result<()> {
    let mut host = Host::start_with("pin: 64MiB, ")?;
    host.platform.stop();
    let details = |status: &serde_json::Value| status["duties"]["logs"]["details"]["sources"]["app"].clone();
    let line = format!("{{\"n\":1,\"filler\":\"{}\"}}\n", "x".repeat(200));
    let told = eventually("it is told", SOON, || {
        host.write(&line.repeat(100))?;
        let table = host.said(&[])?;
        ensure!(table.contains("app: ") && table.contains("lines will be lost if this goes on"), "{table}");
        Ok(table)
    })?;
    ensure!(!told.contains("were gone before"), "{told}");
    let status =
        host.agent.wait_status("it is trouble", SOON, |status| status["duties"]["logs"]["state"] == "degraded")?;
    let at: jiff::Timestamp = details(&status)["will_be_lost_at"].as_str().context("no time")?.parse()?;
    let ahead = at.duration_since(jiff::Timestamp::now()).as_secs();
    ensure!((-60..24 * 3600).contains(&ahead), "in {ahead} s");
    host.platform.start_again()?;
    host.agent.wait_status("it is not told any more", SOON, |status| {
        let details = details(status);
        details["will_be_lost_at"].is_null() && details["unread_bytes"] == 0
    })?;
    Ok(())
}

#[test]
fn a_file_with_another_content_than_was_read_breaks_the_ledger() -> Result<()> {
    let mut host = Host::start()?;
    host.write(&"{\"n\":1}\n".repeat(100))?;
    host.wait_documents(100)?;
    eventually("the positions are durable", SOON, || {
        host.verify().is_ok_and(|(_, text)| text.matches(" 800 ").count() >= 2)
    })?;
    host.agent.terminate()?;
    let path = host.folder.path().join("app.log");
    let mut bytes = fs::read(&path)?;
    bytes[790] = b'x';
    // In place: the same file, of the same size.
    File::options().write(true).open(&path)?.write_all(&bytes)?;
    let (holds, text) = host.verify()?;
    ensure!(!holds && text.contains("is not the one that was read"), "{text}");
    Ok(())
}

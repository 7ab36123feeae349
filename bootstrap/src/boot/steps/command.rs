use super::{Context, Failure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Of each step's output this much is kept, its end.
const MAX_OUTPUT: u64 = 1 << 20;
/// How often the size of the output is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What is stopped has so long to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// What of the output stands in a failure's reason.
const TOLD_LINES: usize = 5;
const TOLD_BYTES: usize = 1000;

/// A program to run.
pub struct Run<'a> {
    /// The step that it is for, which names the file with its output.
    pub step: &'a str,
    /// The program with its arguments.
    pub command: Command,
    /// What it reads.
    pub input: Option<Vec<u8>>,
    /// How long it may take.
    pub deadline: Option<Duration>,
}

impl<'a> Run<'a> {
    /// A program that reads nothing and takes its time.
    pub fn new(step: &'a str, command: Command) -> Self {
        Self { step, command, input: None, deadline: None }
    }

    /// Runs it to its end; its output goes into a file of the instance's folder, root's alone.
    ///
    /// The file, and not a pipe, because what the program leaves running in the background goes on writing to it.
    ///
    /// # Errors
    /// It cannot be started, was stopped at its deadline, or ended with another status than 0.
    pub fn succeed(self, context: &Context<'_>) -> Result<(), Failure> {
        let name = program_name(&self.command);
        let output = Output::open(context, self.step).map_err(|e| Failure::io("keep the output of a command", &e))?;
        let deadline = self.deadline;
        let ended = context.host.block_on(self.end(&output));
        output.bound();
        match ended {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(Failure::new(
                format!("{name} ended with {}{}", described(status), output.told()),
                format!("its whole output is in {}; mend the cause, the next boot tries again", output.path.display()),
            )),
            Ok(None) => Err(Failure::new(
                format!(
                    "{name} took longer than {} s and was stopped{}",
                    deadline.unwrap_or_default().as_secs(),
                    output.told()
                ),
                format!("its whole output is in {}; the next boot tries again", output.path.display()),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure::new(format!("there is no program {name}"), "install it into the image"))
            }
            Err(error) => Err(Failure::io(format!("run {name}"), &error)),
        }
    }

    /// Its status, or nothing when the deadline passed.
    async fn end(mut self, output: &Output) -> io::Result<Option<ExitStatus>> {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        // Its own process group, so that at the deadline its children end with it.
        self.command.stdin(stdin).stdout(output.writer()?).stderr(output.writer()?).process_group(0);
        let mut child = self.command.spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input) {
            // A program that ends without reading says why by its status.
            let _ = stdin.write_all(&input).await;
        }
        let whole = tokio::time::timeout(self.deadline.unwrap_or(Duration::MAX), watched(&mut child, output)).await;
        match whole {
            Ok(status) => status.map(Some),
            Err(_) => {
                stop(&mut child).await?;
                Ok(None)
            }
        }
    }
}

async fn watched(child: &mut Child, output: &Output) -> io::Result<ExitStatus> {
    loop {
        match tokio::time::timeout(LOOK, child.wait()).await {
            Ok(status) => return status,
            Err(_) => output.bound(),
        }
    }
}

/// Asks first: a dpkg that may end what it is about leaves less to mend.
async fn stop(child: &mut Child) -> io::Result<()> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let Some(group) = group else { return child.wait().await.map(drop) };
    // Gone already is as good.
    let _ = killpg(group, Signal::SIGTERM);
    let until = Instant::now() + GRACE;
    // The group is there until its last member ended, not only its first.
    while Instant::now() < until && killpg(group, None).is_ok() {
        child.try_wait()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = killpg(group, Signal::SIGKILL);
    child.wait().await.map(drop)
}

/// The file that a step's output goes into.
struct Output {
    path: PathBuf,
}

impl Output {
    fn open(context: &Context<'_>, step: &str) -> io::Result<Self> {
        let folder = context.folder.join("output");
        std::fs::create_dir_all(&folder)?;
        let name: String = step.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Ok(Self { path: folder.join(format!("{name}.log")) })
    }

    fn writer(&self) -> io::Result<File> {
        File::options().append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Keeps the end of an output that grew too long. Who writes to it still does so at its end.
    fn bound(&self) {
        if let Err(error) = keep_end(&self.path, MAX_OUTPUT) {
            log::warn!("cannot shorten {}: {error}", self.path.display());
        }
    }

    /// ": " and its last lines, for a sentence.
    fn told(&self) -> String {
        let Ok(text) = end_of(&self.path, TOLD_BYTES as u64) else { return String::new() };
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let told = lines[lines.len().saturating_sub(TOLD_LINES)..].join(" | ");
        if told.is_empty() { told } else { format!(": {told}") }
    }
}

fn keep_end(path: &Path, limit: u64) -> io::Result<()> {
    if path.metadata()?.len() <= limit {
        return Ok(());
    }
    let end = end_of(path, limit / 2)?;
    let mut file = File::options().write(true).open(path)?;
    file.set_len(0)?;
    file.write_all(b"[the beginning was too long to keep]\n")?;
    file.write_all(&end)
}

fn end_of(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    Ok(end)
}

fn program_name(command: &Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program());
    // In a tree it is chroot's second argument.
    let inner = if program.ends_with("chroot") { command.get_args().nth(1) } else { None };
    inner.map(Path::new).unwrap_or(program).display().to_string()
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Context;
    use super::Run;
    use crate::boot::host::Host;
    use std::time::Duration;

    #[test]
    fn at_its_deadline_a_command_may_still_end_by_itself() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.path().to_owned(), resumed: false };
        let mut command = host.command("/bin/sh");
        command.args(["-c", "trap 'echo tidied; exit 0' TERM; while :; do sleep 0.05; done"]);
        let run = Run { deadline: Some(Duration::from_millis(500)), ..Run::new("packages", command) };
        let failure = run.succeed(&context).expect_err("stopped");
        assert!(failure.why.contains("was stopped: ") && failure.why.ends_with("tidied"), "{failure:?}");
    }
}

use super::command::Run;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::Script as UserScript;
use crate::boot::userdata::parts::When;
use hostwright_core::atomic_file;
use serde::Serialize;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// What carries folder, variables and options (`set -e`) from one command to the next, since each is a shell of its own.
///
/// `set -a` exports what a line assigns, so that `export -p` at its end names it. Its own variables are gone before.
///
/// What it leaves is taken when its last line is there: a program for that would cost as much as the shell itself.
///
/// A line that comes to its end empties the file that says who has ended the series.
const LINE_IN_SERIES: &str = r#"
if [ -r "$1" ]; then . "$1"; fi
_hostwright_to=$1
trap '{ _hostwright_rc=$?; trap - EXIT; set +a; _hostwright_set=$(set +o); set +eux; } 2>/dev/null
  if [ -n "${_hostwright_back-}" ]; then : >"$_hostwright_to.ended"; fi
  unset _hostwright_back
  { _hostwright_pwd=$(pwd); export _hostwright_pwd
    export -p
    echo "cd \"\$_hostwright_pwd\"; unset _hostwright_pwd"
    echo "_hostwright_set=\"$_hostwright_set\"; #"
  } >"$_hostwright_to.new"
  exit $_hostwright_rc' EXIT
_hostwright_line=$2
shift 2
eval "${_hostwright_set-}"
set -a
eval "$_hostwright_line"
_hostwright_back=$?
exit "$_hostwright_back"
"#;

/// One command of `runcmd:` or `bootcmd:`: a step of its own, so that its status counts and a boot that is cut off
/// goes on with it. As in cloud-init's one script, `cd`, variables and `set -e` last for the commands that follow.
#[derive(Serialize)]
pub struct ShellCommand {
    name: String,
    line: String,
}

impl ShellCommand {
    /// `name` is the series and a number: `runcmd 3`.
    pub fn new(name: &str, line: &str) -> Self {
        Self { name: name.to_owned(), line: line.to_owned() }
    }
}

impl Action for ShellCommand {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let (series, number) = self.name.split_once(' ').unwrap_or((&self.name, "1"));
        let state = context.folder.join("shell").join(series);
        let ended = state.with_extension("ended");
        let kept = |error: io::Error| Failure::io("keep what commands hand to the next", &error);
        if number == "1" {
            make_private_folder(&context.folder.join("shell")).map_err(kept)?;
            remove(&state).and_then(|()| remove(&ended)).map_err(kept)?; // it starts afresh
        } else if let Some(outcome) = self.was_ended_by_another(&ended) {
            return Ok(outcome);
        }
        std::fs::write(&ended, &self.name).map_err(kept)?;
        let mut command = context.host.command("/bin/sh");
        command.args(["-c", LINE_IN_SERIES, "sh"]).arg(context.host.inside(&state)).arg(&self.line);
        command.env("INSTANCE_ID", context.instance_id).current_dir("/");
        let left = state.with_extension("new");
        remove(&left).map_err(kept)?;
        let run = Run::new(&self.name, command).succeed(context);
        if std::fs::read(&left).is_ok_and(|text| text.ends_with(b"; #\n")) {
            std::fs::rename(&left, &state).map_err(kept)?;
        }
        if ended.metadata().map_err(kept)?.len() > 0 {
            let how = if run.is_ok() { WELL } else { BADLY };
            atomic_file::replace(&ended, format!("{}\n{how}", self.name).as_bytes(), 0o600).map_err(kept)?;
        }
        run.map(|()| Outcome::Done)
    }
}

/// How a series was ended.
const WELL: &str = "well";
const BADLY: &str = "badly";

impl ShellCommand {
    /// As in cloud-init's one script, `exit` is the end of all commands, and so is a failure under `set -e`.
    fn was_ended_by_another(&self, ended: &Path) -> Option<Outcome> {
        let text = std::fs::read_to_string(ended).ok()?;
        let (by, how) = text.split_once('\n').filter(|(by, _)| *by != self.name)?;
        Some(match how {
            WELL => Outcome::Skipped(format!("{by} ended the commands by exit")),
            _ => Outcome::NotRun { why: format!("{by} failed and ended the commands"), see: by.to_owned() },
        })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A script of the user-data or of the cloud.
#[derive(Serialize)]
pub struct Script {
    name: String,
    text: String,
    once: bool,
}

impl Script {
    /// `name` is the step's.
    pub fn new(name: &str, script: &UserScript) -> Self {
        Self { name: name.to_owned(), text: script.text.clone(), once: script.when == When::Once }
    }
}

impl Action for Script {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let name: String = self.name.chars().map(|c| if c == ' ' || c == '/' { '-' } else { c }).collect();
        // Beside the instances' folders: another instance of this disk finds it too.
        let mark = context.folder.parent().unwrap_or(&context.folder).join("once").join(&name);
        if self.once && mark.exists() {
            return Ok(Outcome::Skipped("it was run on this machine already, and is for once".to_owned()));
        }
        let path = context.folder.join("scripts").join(&name);
        let written = || {
            make_private_folder(&context.folder.join("scripts"))?;
            std::fs::write(&path, &self.text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
        };
        written().map_err(|e| Failure::io("write the script", &e))?;
        let inside = context.host.inside(&path);
        let mut command = if self.text.starts_with("#!") {
            context.host.command(inside)
        } else {
            let mut shell = context.host.command("/bin/sh");
            shell.arg(inside);
            shell
        };
        command.env("INSTANCE_ID", context.instance_id).current_dir("/");
        Run::new(&self.name, command).succeed(context)?;
        if self.once {
            let marked = make_private_folder(mark.parent().unwrap_or(&mark)).and_then(|()| std::fs::write(&mark, ""));
            marked.map_err(|e| Failure::io("note that the script was run", &e))?;
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context, Outcome};
    use super::{Script, ShellCommand, UserScript, When};
    use crate::boot::host::Host;

    /// Runs commands on this machine, in a folder of their own.
    fn run(lines: &[&str]) -> (tempfile::TempDir, Vec<Result<(), String>>) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.path().to_owned(), resumed: false };
        let outcomes = lines.iter().enumerate().map(|(number, line)| {
            let outcome = ShellCommand::new(&format!("runcmd {}", number + 1), line).run(&context);
            outcome.map(drop).map_err(|failure| failure.why)
        });
        let outcomes = outcomes.collect();
        (folder, outcomes)
    }

    #[test]
    fn folder_and_variables_last_and_each_command_has_its_own_status() {
        let (folder, outcomes) = run(&[
            "cd /usr/bin; A='it'\"'\"'s \"a\"'",
            "false",
            "export B=$A$INSTANCE_ID",
            "(exit 3)",
            "test \"$(pwd)\" = /usr/bin && test \"$B\" = 'it'\"'\"'s \"a\"i-1'",
            "test \"$#\" = 0 && test -z \"$_hostwright_line\"",
        ]);
        assert_eq!(outcomes[0], Ok(()));
        assert!(outcomes[1].as_ref().is_err_and(|why| why.contains("status 1")), "{outcomes:?}");
        assert!(outcomes[3].as_ref().is_err_and(|why| why.contains("status 3")), "{outcomes:?}");
        assert_eq!(outcomes[4], Ok(()));
        drop(folder);
    }

    #[test]
    fn options_of_the_shell_last_too() {
        let (_folder, outcomes) = run(&["set -u", "(echo $NOT_SET_ANYWHERE)", "set +u", "(echo $NOT_SET_ANYWHERE)"]);
        let is_well: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(is_well, [true, false, true, true], "{outcomes:?}");
    }

    #[test]
    fn an_exit_ends_the_commands_and_so_does_a_failure_that_was_to_end_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.path().to_owned(), resumed: false };
        let run = |number: u32, line: &str| ShellCommand::new(&format!("runcmd {number}"), line).run(&context);
        assert_eq!(run(1, "true"), Ok(Outcome::Done));
        assert_eq!(run(2, "test -d / && exit 0"), Ok(Outcome::Done));
        assert_eq!(run(3, "false"), Ok(Outcome::Skipped("runcmd 2 ended the commands by exit".into())));
        for (line, mended) in [("set -e; false; true", "true"), ("exit 3", "true"), ("fi", "true")] {
            assert_eq!(run(1, "true"), Ok(Outcome::Done));
            run(2, line).expect_err("failed");
            assert!(matches!(run(3, "true"), Ok(Outcome::NotRun { .. })), "{line}");
            // The next boot tries what failed again, and what was not run.
            assert_eq!(run(2, mended), Ok(Outcome::Done));
            assert_eq!(run(3, "true"), Ok(Outcome::Done), "{line}");
        }
    }

    #[test]
    fn the_last_lines_of_the_output_tell_why_and_the_whole_is_kept_for_root_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, outcomes) = run(&["seq 1 9; echo no such thing >&2; exit 7"]);
        let why = outcomes[0].as_ref().expect_err("failed");
        assert!(why.ends_with("status 7: 6 | 7 | 8 | 9 | no such thing"), "{why}");
        let log = folder.path().join("output/runcmd-1.log");
        assert!(std::fs::read_to_string(&log).expect("kept").starts_with("1\n2\n"));
        assert_eq!(log.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_runs_on_in_the_background_is_not_waited_for() {
        let started = std::time::Instant::now();
        let (_, outcomes) = run(&["sleep 30 & echo $!"]);
        assert_eq!(outcomes, [Ok(())]);
        assert!(started.elapsed().as_secs() < 10);
    }

    #[test]
    fn a_script_runs_with_its_own_interpreter_and_one_for_once_is_not_run_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let instance = folder.path().join("i-1");
        std::fs::create_dir(&instance).expect("folder");
        let context = Context { host: &host, instance_id: "i-1", folder: instance, resumed: false };
        let mark = folder.path().join("mark");
        let text = format!("#!/usr/bin/env -S sh -e\necho $INSTANCE_ID >> {}\n", mark.display());
        let script = UserScript { name: "a.sh".into(), text, when: When::Once, is_vendors: false };
        let script = Script::new("script per-once a.sh", &script);
        assert_eq!(script.run(&context), Ok(Outcome::Done));
        assert!(matches!(script.run(&context), Ok(Outcome::Skipped(_))));
        assert_eq!(std::fs::read_to_string(mark).expect("written"), "i-1\n");
    }
}

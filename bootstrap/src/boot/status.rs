use super::host::Host;
use super::report::{Report, Verdict};
use super::steps::Stage;
use super::steps::journal::{Journal, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Where it stands; everyone may read it, so it names steps and quotes nothing.
const FILE: &str = "/run/hostwright/boot-status.json";
/// Root's alone.
const REPORT: &str = "/run/hostwright/boot.json";
/// How often `--wait` looks: below what a person notices, and nothing for a processor.
const LOOK: Duration = Duration::from_millis(100);
/// As cloud-init's: something was left out, or failed without being vital.
const DEGRADED: u8 = 2;

/// `hostwright-bootstrap status`
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit codes, as cloud-init's: 0 done or not over yet, 1 failed, 2 done, but something was left out."
)]
pub struct StatusArguments {
    /// Return when the boot's final stage is over.
    #[arg(long)]
    pub wait: bool,
    /// Say more than the one word.
    #[arg(long, short)]
    pub long: bool,
    /// How it is written; JSON has cloud-init's keys.
    #[arg(long, value_enum, default_value_t = Format::Tabular)]
    pub format: Format,
    /// Look at this tree and not at this machine.
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
    /// The kernel's view of processes.
    #[arg(long, default_value = "/proc", hide = true)]
    pub proc: PathBuf,
}

/// How a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines of `name: value`.
    Tabular,
    /// For programs.
    Json,
    /// JSON is YAML too.
    Yaml,
}

/// How far a boot is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Of the boot that it tells of.
    boot_id: String,
    instance_id: Option<String>,
    datasource: String,
    boot: u64,
    stage: Stage,
    /// Steps at work.
    at_work: Vec<String>,
    /// How many have ended well, of how many.
    well: usize,
    steps: usize,
    failed: Vec<String>,
    /// How many things were odd or left out.
    warnings: usize,
    started: Timestamp,
    /// When the stage was over, with what came of it.
    over: Option<(Timestamp, Verdict)>,
}

impl Progress {
    /// A stage that has begun.
    pub fn begun(host: &Host, stage: Stage, datasource: &str) -> Self {
        Self {
            boot_id: host.boot_id(),
            instance_id: None,
            datasource: datasource.to_owned(),
            boot: 0,
            stage,
            at_work: Vec::new(),
            well: 0,
            steps: 0,
            failed: Vec::new(),
            warnings: 0,
            started: Timestamp::now(),
            over: None,
        }
    }

    /// Of this instance.
    pub fn of(self, instance_id: &str) -> Self {
        Self { instance_id: Some(instance_id.to_owned()), ..self }
    }

    /// What the journal says by now.
    pub fn at(&self, steps: &[String], journal: &Journal, at_work: &[String]) -> Self {
        let with = |wanted: &dyn Fn(State) -> bool| {
            let records = steps.iter().filter_map(|name| journal.record(name));
            records.filter(|record| wanted(record.state)).map(|record| record.step.clone()).collect::<Vec<_>>()
        };
        Self {
            boot: journal.boot(),
            at_work: at_work.to_vec(),
            well: with(&State::is_well).len(),
            steps: steps.len(),
            failed: with(&|state| matches!(state, State::Failed | State::NotRun)),
            ..self.clone()
        }
    }

    /// The stage is over.
    pub fn ended(&self, report: &Report) -> Self {
        let outcome = |step: &&super::report::StepReport, words: [&str; 2]| words.contains(&step.outcome.as_str());
        let steps = || report.steps.iter();
        Self {
            instance_id: report.instance_id.clone(),
            datasource: report.datasource.clone(),
            boot: report.boot,
            at_work: Vec::new(),
            well: steps().filter(|step| outcome(step, ["done", "skipped"])).count(),
            steps: report.steps.len(),
            failed: steps().filter(|step| outcome(step, ["failed", "not run"])).map(|step| step.name.clone()).collect(),
            warnings: report.warnings.len(),
            over: Some((report.written, report.result)),
            ..self.clone()
        }
    }

    /// Writes it for everyone. It is worth nothing after a power cut, so nothing waits for the disk.
    pub fn write(&self, host: &Host) {
        let path = host.path(FILE);
        let unfinished = path.with_extension("new");
        let written = || -> std::io::Result<()> {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(&unfinished, serde_json::to_vec(self)?)?;
            std::fs::rename(&unfinished, &path)
        };
        if let Err(error) = written() {
            log::warn!("the status is not told in {}: {error}", path.display());
        }
    }
}

/// What `status` tells.
enum Told {
    Disabled(&'static str),
    NotStarted,
    Known(Box<Progress>),
}

/// Tells how far the boot is.
///
/// # Errors
/// None: what cannot be read has not begun.
pub fn status(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let host = Host::new(arguments.root.clone(), arguments.proc.clone(), "/sys".into())?;
    let mut told = look(&host);
    while arguments.wait && !is_over(&told) {
        std::thread::sleep(LOOK);
        told = look(&host);
    }
    match arguments.format {
        Format::Tabular => tabular(&told, arguments.long, &reasons(&host)),
        Format::Json | Format::Yaml => println!("{:#}", as_json(&told)),
    }
    Ok(match &told {
        Told::Known(progress) => match final_verdict(progress) {
            Some(Verdict::Failed) => ExitCode::FAILURE,
            Some(Verdict::Degraded) => ExitCode::from(DEGRADED),
            Some(Verdict::Ok) | None => ExitCode::SUCCESS,
        },
        Told::Disabled(_) | Told::NotStarted => ExitCode::SUCCESS,
    })
}

fn look(host: &Host) -> Told {
    let known = std::fs::read(host.path(FILE)).ok().and_then(|text| serde_json::from_slice::<Progress>(&text).ok());
    if let Some(progress) = known.filter(|progress| progress.boot_id == host.boot_id()) {
        return Told::Known(Box::new(progress));
    }
    let kernel = std::fs::read_to_string(host.proc("cmdline")).unwrap_or_default();
    if host.path("/etc/hostwright/bootstrap.disabled").exists() {
        return Told::Disabled("/etc/hostwright/bootstrap.disabled is there");
    }
    if kernel.split_whitespace().any(|word| word == "hostwright=disabled") {
        return Told::Disabled("the kernel's command line says hostwright=disabled");
    }
    let unit = "multi-user.target.wants/hostwright-bootstrap-final.service";
    let folders = ["/etc/systemd/system", "/usr/lib/systemd/system", "/run/systemd/generator"];
    let is_enabled = folders.iter().any(|folder| host.path(folder).join(unit).symlink_metadata().is_ok());
    if host.has_systemd() && !is_enabled {
        return Told::Disabled("its units are not enabled");
    }
    Told::NotStarted
}

fn final_verdict(progress: &Progress) -> Option<Verdict> {
    let failed_already = progress.over.is_some_and(|(_, verdict)| verdict == Verdict::Failed);
    match progress.over {
        Some((_, verdict)) if progress.stage == Stage::Final => Some(verdict),
        _ => failed_already.then_some(Verdict::Failed),
    }
}

fn is_over(told: &Told) -> bool {
    match told {
        Told::Disabled(_) => true,
        Told::NotStarted => false,
        Told::Known(progress) => progress.over.is_some() && progress.stage == Stage::Final,
    }
}

/// cloud-init's words: short and extended.
fn words(told: &Told) -> (&'static str, &'static str) {
    match told {
        Told::Disabled(_) => ("disabled", "disabled"),
        Told::NotStarted => ("not started", "not started"),
        Told::Known(progress) => match (is_over(told), final_verdict(progress)) {
            (true, Some(Verdict::Ok)) => ("done", "done"),
            (true, Some(Verdict::Degraded)) => ("done", "degraded done"),
            (true, _) => ("error", "error - done"),
            (false, Some(Verdict::Failed)) => ("error", "error - running"),
            (false, _) => ("running", "running"),
        },
    }
}

fn detail(told: &Told) -> String {
    match told {
        Told::Disabled(why) => (*why).to_owned(),
        Told::NotStarted => "hostwright-bootstrap has not begun in this boot".to_owned(),
        Told::Known(progress) => progress.datasource.clone(),
    }
}

/// What the boot's report says of what went wrong, which is root's alone: sentences, or nothing for others.
fn reasons(host: &Host) -> Vec<String> {
    let text = std::fs::read(host.path(REPORT)).unwrap_or_default();
    let Ok(report) = serde_json::from_slice::<Report>(&text) else { return Vec::new() };
    let failed = report.steps.iter().filter(|step| step.outcome == "failed");
    let steps = failed.map(|step| format!("{}: {} -> {}", step.name, step.why, step.remedy));
    steps.chain(report.warnings.iter().cloned()).collect()
}

fn tabular(told: &Told, long: bool, reasons: &[String]) {
    let (word, extended) = words(told);
    println!("status: {word}");
    if !long {
        return;
    }
    println!("extended_status: {extended}\ndetail: {}", detail(told));
    let Told::Known(progress) = told else { return };
    let stage = if progress.stage == Stage::Early { "early" } else { "final" };
    println!("instance: {}, boot {}", progress.instance_id.as_deref().unwrap_or("-"), progress.boot);
    println!("stage: {stage}, {} of {} steps are done", progress.well, progress.steps);
    for (name, steps) in [("at work", &progress.at_work), ("failed", &progress.failed)] {
        if !steps.is_empty() {
            println!("{name}: {}", steps.join(", "));
        }
    }
    reasons.iter().for_each(|reason| println!("reason: {reason}"));
    if reasons.is_empty() && (!progress.failed.is_empty() || progress.warnings > 0) {
        println!("{} things were odd or left out; root reads why in {REPORT}", progress.warnings);
    }
}

/// With the keys that scripts know from `cloud-init status --format json`, and our own beside them.
fn as_json(told: &Told) -> Value {
    let (status, extended) = words(told);
    let mut answer = json!({
        "boot_status_code": if status == "disabled" { "disabled-by-marker-file" } else { "enabled-by-generator" },
        "datasource": "",
        "detail": detail(told),
        "errors": [],
        "extended_status": extended,
        "init": {}, "init-local": {}, "modules-config": {}, "modules-final": {},
        "last_update": "",
        "recoverable_errors": {},
        "schemas": {"1": {}},
        "stage": null,
        "status": status,
    });
    if let Told::Known(progress) = told {
        let mut errors: Vec<_> = progress.failed.iter().map(|step| format!("the step {step} has failed")).collect();
        if errors.is_empty() && final_verdict(progress) == Some(Verdict::Failed) {
            errors.push(format!("the datasource gives nothing; root reads why in {REPORT}"));
        }
        answer["datasource"] = json!(progress.datasource.split([' ', ',']).next().unwrap_or_default());
        answer["errors"] = json!(errors);
        answer["last_update"] = json!(progress.over.map_or(progress.started, |(at, _)| at).to_string());
        answer["stage"] = if is_over(told) { Value::Null } else { json!(progress.stage) };
        if progress.warnings > 0 {
            answer["recoverable_errors"] =
                json!({"WARNING": [format!("{} things were odd or left out", progress.warnings)]});
        }
        answer["hostwright"] = json!(progress);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::{Progress, Told, as_json, is_over, look, words};
    use crate::boot::host::Host;
    use crate::boot::report::{Report, Verdict};
    use crate::boot::steps::Stage;

    #[test]
    fn it_is_over_when_the_final_stage_is_and_another_boots_status_counts_for_nothing() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let proc = tree.path().join("proc");
        std::fs::create_dir_all(proc.join("sys/kernel/random")).expect("folder");
        std::fs::write(proc.join("sys/kernel/random/boot_id"), "b-1\n").expect("written");
        let host = Host::new(tree.path().to_owned(), proc.clone(), "/sys".into()).expect("host");
        assert!(matches!(look(&host), Told::NotStarted));
        let begun = Progress::begun(&host, Stage::Early, "nocloud");
        begun.write(&host);
        assert_eq!(words(&look(&host)), ("running", "running"));
        for (stage, verdict, expected) in [
            (Stage::Early, Verdict::Ok, ("running", "running")),
            (Stage::Final, Verdict::Ok, ("done", "done")),
            (Stage::Final, Verdict::Degraded, ("done", "degraded done")),
            (Stage::Final, Verdict::Failed, ("error", "error - done")),
        ] {
            let report = Report::without_steps("nocloud".into(), stage, Vec::new(), verdict);
            Progress::begun(&host, stage, "nocloud").ended(&report).write(&host);
            let told = look(&host);
            assert_eq!((words(&told), is_over(&told)), (expected, stage == Stage::Final));
            assert_eq!(as_json(&told)["status"], expected.0);
            let errors = as_json(&told)["errors"].as_array().map(Vec::len);
            assert_eq!(errors, Some(usize::from(verdict == Verdict::Failed)), "an error has a reason");
        }
        std::fs::write(proc.join("sys/kernel/random/boot_id"), "b-2\n").expect("written");
        assert!(matches!(look(&host), Told::NotStarted));
        std::fs::create_dir_all(tree.path().join("etc/hostwright")).expect("folder");
        std::fs::write(tree.path().join("etc/hostwright/bootstrap.disabled"), "").expect("written");
        assert!(is_over(&look(&host)));
    }
}

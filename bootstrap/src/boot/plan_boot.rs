use super::check::PROBLEMS;
use super::datasource::Metadata;
use super::host::{Host, read_bounded};
use super::steps::{Frequency, Stage, Step, order, plan};
use super::userdata;
use super::web::shown;
use anyhow::Context as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// `hostwright-bootstrap plan-boot`
#[derive(clap::Args, Debug)]
pub struct PlanBootArguments {
    /// A user-data.
    pub file: PathBuf,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// More than any cloud hands over.
const MAX_BYTES: u64 = 16 << 20;

/// Shows the steps that a user-data comes to, and which wait for which. Nothing is touched.
///
/// # Errors
/// The file cannot be read.
pub fn plan_boot(arguments: &PlanBootArguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.file;
    let content = read_bounded(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
    let host = Host::new("/".into(), "/proc".into(), "/sys".into())?;
    let user_data = userdata::read(&content);
    let findings = [&user_data.findings.errors[..], &user_data.findings.ignored].concat();
    findings.iter().for_each(|problem| eprintln!("{}:{problem}", path.display()));
    tell_includes(path, &user_data.waiting);
    let is_right = user_data.findings.errors.is_empty();
    let steps = plan::plan(&host, &Metadata::default(), user_data, Duration::from_secs(300));
    if arguments.json {
        println!("{:#}", as_json(&steps));
    } else {
        print!("{}", table(&steps, |_| String::new()));
    }
    // The table is of what is right in it.
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::from(PROBLEMS) })
}

/// Of what a user-data includes nothing is known before a boot.
pub fn tell_includes(path: &Path, included: &[String]) {
    for url in included {
        eprintln!(
            "{}: what it includes from {} is fetched at boot, and not looked at here",
            path.display(),
            shown(url)
        );
    }
}

fn names<'s>(steps: &'s [Step], of: &[usize]) -> Vec<&'s str> {
    of.iter().map(|at| steps[*at].name.as_str()).collect()
}

fn often(step: &Step) -> &'static str {
    match step.frequency {
        Frequency::Instance => "once, or changed",
        Frequency::InstanceOnly => "once",
        Frequency::Boot => "at each boot",
    }
}

fn as_json(steps: &[Step]) -> serde_json::Value {
    let waits = order::order(steps);
    let told = steps.iter().zip(&waits).map(|(step, waits)| {
        json!({"step": step.name, "stage": step.stage, "often": often(step), "needs": needs(step, steps), "after": names(steps, waits)})
    });
    told.collect()
}

/// Those of its needs that the user-data has steps for.
fn needs<'s>(step: &'s Step, steps: &[Step]) -> Vec<&'s str> {
    step.needs.iter().filter(|need| steps.iter().any(|step| step.name == **need)).copied().collect()
}

/// Steps with what they need and wait for, and a last column.
pub fn table(steps: &[Step], last: impl Fn(&Step) -> String) -> String {
    let waits = order::order(steps);
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(4).max(4);
    let mut text = format!("{:<width$}  {:<5}  {:<16}  WAITS FOR\n", "STEP", "STAGE", "HOW OFTEN");
    for (step, waits) in steps.iter().zip(&waits) {
        let stage = if step.stage == Stage::Early { "early" } else { "final" };
        let needs = needs(step, steps);
        let mark = |name: &str| if needs.contains(&name) { format!("{name} (done)") } else { name.to_owned() };
        let mut waits: Vec<_> = names(steps, waits).into_iter().map(mark).collect();
        if waits.is_empty() {
            waits.push("nothing".to_owned());
        }
        let last = last(step);
        let between = if last.is_empty() { "" } else { "  " };
        text.push_str(&format!(
            "{:<width$}  {stage:<5}  {:<16}  {}{between}{last}\n",
            step.name,
            often(step),
            waits.join(", ")
        ));
    }
    text
}

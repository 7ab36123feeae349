//! On the VM: datasource → user-data → steps → report.
//!
//! In: what the cloud and the operator say of this instance. Out: a configured host with a running agent, and a report.
//! It runs as two oneshots, the early stage before the network and the final one after it. What survives a restart is
//! each instance's folder below `/var/lib/hostwright/bootstrap`: its journal, user-data, report and the output of
//! commands. A boot that is cut off goes on where the journal says that it was.

/// Where scripts find cloud-init.
mod alias;
/// What a boot's time went to.
mod analyze;
mod check;
/// Beside an installed cloud-init.
mod companion;
mod console;
/// Where the instance reads who it is.
pub mod datasource;
/// The boot's report, handed over.
mod deliver;
/// The machine, or a tree that looks like one.
pub mod host;
/// Requests to link-local servers.
mod http;
/// What a user-data includes, fetched.
mod included;
/// The instances that this disk has been.
mod instance;
/// The network as the datasource describes it.
pub mod network;
/// The steps of a user-data, printed.
mod plan_boot;
/// What a user-data comes to, printed.
mod render;
/// What became of a boot.
pub mod report;
/// How far a boot is.
mod status;
/// What is done to the host.
pub mod steps;
/// What the operator wants.
pub mod userdata;
/// Files from the web.
mod web;

pub use analyze::{AnalyzeArguments, analyze};
pub use check::{CheckArguments, check, is_sound_user_data};
pub use plan_boot::{PlanBootArguments, plan_boot};
pub use render::{RenderArguments, render};
pub use status::{StatusArguments, status};

use anyhow::Context as _;
use console::Console;
use datasource::{Found, Search, Seed};
use host::Host;
use hostwright_core::config::section::Problem;
use included::Included;
use instance::Instances;
use network::WriteNetwork;
use report::{Report, Verdict};
use status::Progress;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use steps::journal::Journal;
use steps::run::{Asked, Watch};
use steps::{Context, Stage, Step, plan, run};

/// `hostwright-bootstrap boot`
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Each step is recorded before and after in /var/lib/hostwright/bootstrap/<instance id>/journal. \
A boot that is cut off goes on with the step that was running: one command of runcmd may then run twice, all others run once. \
A step that failed is tried again at the next boot. The report is /run/hostwright/boot.json."
)]
pub struct BootArguments {
    /// Only the steps of this stage; both, one after the other, where it is not given.
    #[arg(long)]
    pub stage: Option<Stage>,
    /// Seconds to wait for the agent to become ready.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub patience: u64,
    /// Where the cloud's metadata service is, if not at its own address.
    #[arg(long, hide = true, value_name = "URL")]
    pub metadata_url: Option<String>,
    /// Carry out only the section `hostwright:`, of the user-data that cloud-init has; without saying so where cloud-init
    /// is at work.
    #[arg(long)]
    pub companion: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Work on this tree and not on this machine.
    #[arg(long, default_value = "/", hide = true)]
    pub root: PathBuf,
    /// The kernel's view of processes.
    #[arg(long, default_value = "/proc", hide = true)]
    pub proc: PathBuf,
    /// The kernel's view of devices.
    #[arg(long, default_value = "/sys", hide = true)]
    pub sys: PathBuf,
}

/// Configures this host by its user-data: each step once for the instance, or at each boot.
///
/// # Errors
/// Nothing could be recorded. Steps that fail are told in the report and by the exit code.
pub fn boot(arguments: &BootArguments) -> anyhow::Result<ExitCode> {
    let BootArguments { root, proc, sys, .. } = arguments;
    let host = Host::new(root.clone(), proc.clone(), sys.clone()).context("cannot begin")?;
    let console = Console::new(&host);
    if arguments.dry_run {
        return dry_run(arguments, &host);
    }
    let instances = Instances::lock(&host)?;
    alias::keep(&host);
    let network = arguments.stage != Some(Stage::Early);
    let search = Search { network, cached: instances.cached(), metadata_url: arguments.metadata_url.clone() };
    let found = if is_companion(arguments, &host) {
        companion::seed(&host).map(|seed| Found::Seed(Box::new(seed)))
    } else {
        datasource::find(&host, &search)
    };
    let report = match found {
        Ok(Found::Seed(seed)) => configure(arguments, &host, &console, &instances, &seed)?,
        Ok(Found::OverNetwork(url)) => {
            console.line(&format!("the seed is at {url}: it waits for the network and the final stage"));
            without_seed(&host, arguments, &url, Vec::new(), Verdict::Ok)?
        }
        Ok(Found::Nothing) => {
            let known = instances
                .last()
                .map_or_else(String::new, |id| format!("; the host stays as instance {id} was configured"));
            console.line(&format!("no datasource has anything for this instance{known}: nothing is done"));
            without_seed(&host, arguments, "none", Vec::new(), Verdict::Ok)?
        }
        Err(error) => {
            let why = format!("{error:#}; nothing is done, the next boot tries again");
            console.line(&why);
            datasource::report_failure(&host, &why);
            without_seed(&host, arguments, "none", vec![why], Verdict::Failed)?
        }
    };
    Progress::begun(&host, report.stage, &report.datasource).ended(&report).write(&host);
    conclude(&host, &console, &report);
    end_as_wanted(&host, &console);
    Ok(if report.result == Verdict::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn configure(
    arguments: &BootArguments,
    host: &Host,
    console: &Console<'_>,
    instances: &Instances,
    seed: &Seed,
) -> anyhow::Result<Report> {
    let instance_id = seed.metadata.instance_id.clone().unwrap_or_else(|| "nocloud".to_owned());
    let (folder, mut journal) = instances.open(&instance_id, &seed.user_data, &host.boot_id())?;
    announce(console, arguments, &instance_id, &journal, &seed.datasource);

    Instances::remember(&folder, seed)?;
    if let Some(name) = folder.file_name().filter(|_| !is_companion(arguments, host)) {
        alias::of_instance(host, name);
    }
    let sources = sources(seed, host);
    let network = arguments.stage != Some(Stage::Early);
    let region = seed.about.region.clone().filter(|_| seed.about.cloud == "aws");
    let mut included = Included::new(host, network, &folder).of_region(region);
    let user_data = userdata::read_all(&sources, &mut included);
    if !user_data.waiting.is_empty() {
        let places: Vec<_> = user_data.waiting.iter().map(|url| web::shown(url)).collect();
        console.line(&format!(
            "the user-data includes {}: it waits for the network and the final stage",
            places.join(", ")
        ));
        return without_seed(host, arguments, &seed.datasource, Vec::new(), Verdict::Ok);
    }
    let is_companion = is_companion(arguments, host);
    // What cloud-init leaves out is its own affair.
    let is_ours = |found: &&Problem| !is_companion || found.path.starts_with("hostwright");
    let told = |problems: &[Problem]| {
        problems.iter().filter(is_ours).map(|found| format!("user-data:{found}")).collect::<Vec<_>>()
    };
    let of_network = seed.network.as_ref().filter(|_| !is_companion).map(network::left_out).unwrap_or_default();
    let left_out = [seed.left_out.clone(), of_network, told(&user_data.findings.ignored)].concat();
    let verdict = if left_out.is_empty() { Verdict::Ok } else { Verdict::Degraded };
    let warnings = [left_out, seed.warnings.clone(), told(&user_data.findings.warnings)].concat();
    if !journal.was_begun_in_this_boot() {
        warnings.iter().for_each(|warning| console.line(&format!("warning: {warning}")));
    }
    let final_message = user_data.config.final_message.clone();
    let own = user_data.config.boot.clone();
    let buckets = user_data.config.agent.as_ref().map(|agent| agent.buckets.clone()).unwrap_or_default();
    let patience = Duration::from_secs(arguments.patience);
    let mut steps = if is_companion {
        plan::beside_cloud_init(host, &user_data, patience)
    } else {
        plan::plan(host, &seed.metadata, user_data, patience)
    };
    if !is_companion {
        of_the_datasource(&mut steps, seed);
    }
    let stage = arguments.stage.unwrap_or(Stage::Final);
    let context = Context { host, instance_id: &instance_id, folder: folder.clone(), resumed: false };
    let report = |journal: &Journal| {
        let report = Report::without_steps(seed.datasource.clone(), stage, warnings.clone(), verdict);
        report.with_steps(&instance_id, &steps, journal)
    };
    let names: Vec<String> = steps.iter().map(|step| step.name.clone()).collect();
    let progress = Progress::begun(host, stage, &seed.datasource).of(&instance_id);
    let watch = Watch {
        console,
        progress: &|journal, at_work| progress.at(&names, journal, at_work).write(host),
        end: &|journal| end_early(&report(journal), host, &folder),
    };
    run::run(&steps, Asked { stage: arguments.stage }, &mut journal, (&context, &watch))
        .with_context(|| format!("cannot record a step in {}; nothing more is done", folder.display()))?;

    let report = report(&journal);
    report.write(host, Some(&folder)).context("cannot write the boot's report")?;
    if stage == Stage::Final {
        if let Some(message) = final_message.filter(|_| !is_companion) {
            console.final_message(&message, &report);
        }
        if !is_companion {
            alias::finished(host, &instance_id);
        }
        deliver::deliver(host, (&own.report, &buckets), &report, &folder);
        if let Some(marker) = own.marker.filter(|_| report.result != Verdict::Failed) {
            console.plain(&marker);
        }
    }
    Ok(report)
}

fn is_companion(arguments: &BootArguments, host: &Host) -> bool {
    arguments.companion || companion::is_beside_cloud_init(host)
}

/// The process is asked to end: what was done is reported, and what was at work goes on at the next start.
fn end_early(report: &Report, host: &Host, folder: &std::path::Path) {
    let mut report = report.clone();
    report.warnings.push("the bootstrap was asked to end before it was done; the next start goes on".to_owned());
    report.result = Verdict::Failed;
    if let Err(error) = report.write(host, Some(folder)) {
        log::warn!("the boot's report cannot be written: {error}");
    }
    Progress::begun(host, report.stage, &report.datasource).ended(&report).write(host);
    std::process::exit(1);
}

fn sources<'a>(seed: &'a Seed, host: &Host) -> userdata::Sources<'a> {
    userdata::Sources {
        user_data: &seed.user_data,
        vendor_data: &seed.vendor_data,
        vendor_data2: &seed.vendor_data2,
        instance_data: seed.instance_data(host),
        launch_index: seed.about.launch_index,
    }
}

/// Says what a boot would do with each step. Nothing is written.
fn dry_run(arguments: &BootArguments, host: &Host) -> anyhow::Result<ExitCode> {
    let search = Search { network: true, cached: None, metadata_url: arguments.metadata_url.clone() };
    let seed = match datasource::find(host, &search)? {
        Found::Seed(seed) => *seed,
        Found::OverNetwork(url) => anyhow::bail!("the seed is at {url}, which is not asked without doing anything"),
        Found::Nothing => anyhow::bail!("no datasource has anything for this instance: nothing would be done"),
    };
    let instance_id = seed.metadata.instance_id.clone().unwrap_or_else(|| "nocloud".to_owned());
    let journal = Journal::look(instance::folder(host, &instance_id).join("journal"), &host.boot_id())?;
    let sources = sources(&seed, host);
    let user_data = userdata::look(&sources);
    for problem in user_data.findings.errors.iter().chain(&user_data.findings.ignored) {
        println!("user-data:{problem}");
    }
    let mut steps = plan::plan(host, &seed.metadata, user_data, Duration::from_secs(arguments.patience));
    of_the_datasource(&mut steps, &seed);
    println!("instance {instance_id}, boot {}, {}", journal.boot(), seed.datasource);
    print!("{}", plan_boot::table(&steps, |step| format!("[{}]", run::foreseen(step, &journal))));
    Ok(ExitCode::SUCCESS)
}

/// What is to be done because of where the instance is, and not because of its user-data.
fn of_the_datasource(steps: &mut Vec<Step>, seed: &Seed) {
    if let Some(network) = &seed.network {
        // Right behind the verdict on the user-data: everything else may need the network.
        steps.insert(steps.len().min(1), Step::new("network", WriteNetwork::new(network.clone())));
    }
    if seed.about.platform == "azure" {
        steps.push(Step::new("azure report", datasource::ReportReady {}).in_the_final_stage());
    }
}

fn announce(console: &Console<'_>, arguments: &BootArguments, instance_id: &str, journal: &Journal, datasource: &str) {
    let stage = match arguments.stage {
        Some(Stage::Early) => "early stage",
        Some(Stage::Final) => "final stage",
        None => "both stages",
    };
    let boot = journal.boot();
    console.line(&format!("hostwright-bootstrap: instance {instance_id}, boot {boot}, {stage}, {datasource}"));
}

fn without_seed(
    host: &Host,
    arguments: &BootArguments,
    datasource: &str,
    warnings: Vec<String>,
    result: Verdict,
) -> anyhow::Result<Report> {
    let stage = arguments.stage.unwrap_or(Stage::Final);
    let report = Report::without_steps(datasource.to_owned(), stage, warnings, result);
    report.write(host, None).context("cannot write the boot's report")?;
    Ok(report)
}

/// A reboot or the like that a step wanted, now that the report is written.
fn end_as_wanted(host: &Host, console: &Console<'_>) {
    let Some(words) = host.take_last() else { return };
    let Some((program, arguments)) = words.split_first() else { return };
    console.line(&format!("as the user-data wants it: {}", words.join(" ")));
    let mut command = host.command(program);
    if let Err(error) = host.block_on(async { command.args(arguments).status().await }) {
        console.line(&format!("cannot run {program}: {error}"));
    }
}

/// The last line, by which people and tests see on the console that the boot is over.
fn conclude(host: &Host, console: &Console<'_>, report: &Report) {
    let Some(id) = &report.instance_id else { return };
    let counts = report.counts();
    let verdict = match (report.stage, report.result) {
        (Stage::Early, _) => "has its early stage behind it",
        (Stage::Final, Verdict::Failed) => "is NOT configured as wanted",
        (Stage::Final, _) => "is configured",
    };
    let earlier = if counts.earlier > 0 { format!(", {} in an earlier boot", counts.earlier) } else { String::new() };
    console.plain(&format!(
        "hostwright-bootstrap: instance {id} {verdict}: {} steps done, {} failed{earlier}, {:.1} s",
        counts.done,
        counts.failed,
        report.seconds().max(host.elapsed())
    ));
}

//! `hostwright-bootstrap`: arguments → command → exit code.

use clap::{Parser, Subcommand};
use hostwright_bootstrap::boot::{
    self, AnalyzeArguments, BootArguments, CheckArguments, PlanBootArguments, RenderArguments, StatusArguments,
};
use hostwright_bootstrap::instances::{self, DownArguments, ShowArguments, UpArguments};
use std::process::ExitCode;

/// Turns a bare VM into a working host: creates VMs from a shell, and on the VM configures it at boot.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or a file with problems.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// On the VM: find the user-data and configure this host by it, once per instance.
    Boot(BootArguments),
    /// Check a user-data or agent.yaml without touching anything; every problem is reported with line and column.
    Check(CheckArguments),
    /// Print what a user-data of several parts comes to: one merged cloud-config, and the scripts in their order.
    Render(RenderArguments),
    /// Show the steps that a user-data comes to, and which wait for which.
    PlanBoot(PlanBootArguments),
    /// On the VM: tell how far the boot is.
    Status(StatusArguments),
    /// On the VM: show what the last boot's time went to.
    Analyze(AnalyzeArguments),
    /// Create a VM from an image and a user-data.
    Up(UpArguments),
    /// List the VMs that `up` created.
    Show(ShowArguments),
    /// Stop and remove VMs that `up` created.
    Down(DownArguments),
}

fn main() -> ExitCode {
    if called_as_cloud_init() && std::env::args().nth(1).as_deref() != Some("status") {
        eprintln!(
            "cloud-init: hostwright-bootstrap configures this host, and of cloud-init's commands only status is here"
        );
        return ExitCode::from(2);
    }
    let arguments = Arguments::parse();
    hostwright_core::logging::start("hostwright-bootstrap");
    let outcome = match &arguments.command {
        Command::Boot(arguments) => boot::boot(arguments),
        Command::Check(arguments) => boot::check(arguments),
        Command::Render(arguments) => boot::render(arguments),
        Command::PlanBoot(arguments) => boot::plan_boot(arguments),
        Command::Status(arguments) => boot::status(arguments),
        Command::Analyze(arguments) => boot::analyze(arguments),
        Command::Up(arguments) => instances::up(arguments),
        Command::Show(arguments) => instances::show(arguments),
        Command::Down(arguments) => instances::down(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("hostwright-bootstrap: {error:#}");
        ExitCode::FAILURE
    })
}

/// Scripts go on with `cloud-init status --wait` where cloud-init is absent: then it is a link to this program.
fn called_as_cloud_init() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| std::path::Path::new(&name).ends_with("cloud-init"))
}

//! `hostwright-bootstrap`: arguments → command → exit code.

use clap::{Parser, Subcommand};
use hostwright_bootstrap::boot::{self, BootArguments, CheckArguments, RenderArguments};
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
    /// Create a VM from an image and a user-data.
    Up(UpArguments),
    /// List the VMs that `up` created.
    Show(ShowArguments),
    /// Stop and remove VMs that `up` created.
    Down(DownArguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    hostwright_core::logging::start("hostwright-bootstrap");
    let outcome = match &arguments.command {
        Command::Boot(arguments) => boot::boot(arguments),
        Command::Check(arguments) => boot::check(arguments),
        Command::Render(arguments) => boot::render(arguments),
        Command::Up(arguments) => instances::up(arguments),
        Command::Show(arguments) => instances::show(arguments),
        Command::Down(arguments) => instances::down(arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("hostwright-bootstrap: {error:#}");
        ExitCode::FAILURE
    })
}

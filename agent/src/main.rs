//! `hostwright-agent`: arguments → configuration → duties → supervise → exit code.

use clap::{Parser, Subcommand};
use hostwright_agent::commands::{self, Format};
use hostwright_core::config::ConfigError;
use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps a host working: containers, logs, metrics, products, and an API that tells how they are.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or a configuration with problems, 3 the agent answers but is not well (status)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the duties of a configuration until SIGTERM; SIGHUP reloads it.
    Run {
        /// The configuration.
        #[arg(long, default_value = "/etc/hostwright/agent.yaml")]
        config: PathBuf,
    },
    /// Check a configuration without touching anything; every problem is reported with line and column.
    Check {
        /// The configuration.
        file: PathBuf,
        /// Leave out the files that it names: the Compose file and the web configuration.
        #[arg(long)]
        alone: bool,
    },
    /// Ask the running agent how it is: a row for each duty.
    Status {
        /// A table for people, or the API's JSON.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        /// The agent's local socket.
        #[arg(long, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
    /// Look at Compose files without touching anything.
    Compose {
        #[command(subcommand)]
        what: commands::Compose,
    },
    /// Hold the ports that services publish; the service hostwright-ports, or the agent itself, starts it.
    #[command(hide = true)]
    Ports {
        /// Where its socket and table are.
        #[arg(long, default_value = "/run/hostwright-ports")]
        folder: PathBuf,
    },
    /// Show the containers with health, image and since when; deploy now, go back.
    Containers {
        #[command(subcommand)]
        what: Option<commands::Containers>,
        /// A table for people, or JSON.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        /// The agent's local socket.
        #[arg(long, global = true, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
    /// Show the runs of jobs and the next times; run one now, show one, read its log.
    Jobs {
        #[command(subcommand)]
        what: Option<commands::Jobs>,
        /// A table for people, or JSON.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        /// The agent's local socket.
        #[arg(long, global = true, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
    /// The same as `containers deploy`.
    Deploy {
        #[command(flatten)]
        deploy: commands::Deploy,
        /// The agent's local socket.
        #[arg(long, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
    /// The same as `containers rollback`.
    Rollback {
        /// The service.
        service: String,
        /// How long to wait.
        #[arg(long, default_value = "10m")]
        timeout: String,
        /// The agent's local socket.
        #[arg(long, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
    /// Show how far each log source is at each output; check, resend, test.
    Logs {
        #[command(subcommand)]
        what: Option<commands::Logs>,
        /// The agent's local socket.
        #[arg(long, global = true, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
    /// Show how products are: waiting, under way, done, failed and why; push and verify them.
    Products {
        #[command(subcommand)]
        what: Option<commands::Products>,
        /// A table for people, or JSON.
        #[arg(long, global = true, value_enum, default_value = "table")]
        format: Format,
        /// The agent's local socket.
        #[arg(long, global = true, default_value = hostwright_core::local_api::SOCKET)]
        socket: PathBuf,
    },
}

fn main() -> ExitCode {
    hostwright_agent::memory::give_back_large_buffers();
    let arguments = Arguments::parse();
    hostwright_core::logging::start("hostwright-agent");
    match run(arguments.command) {
        Ok(code) => code,
        // A line for each problem, as compilers print them, so that editors find the places.
        Err(error) if error.is::<ConfigError>() => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("hostwright-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config } => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(commands::run(&config))?;
        }
        Command::Check { file, alone } => commands::check(&file, alone)?,
        Command::Ports { folder } => hostwright_agent::host_ports::run(&folder)?,
        Command::Containers { what, format, socket } => return commands::containers(what, format, &socket),
        Command::Jobs { what, format, socket } => return commands::jobs(what, format, &socket),
        Command::Deploy { deploy, socket } => {
            return commands::containers(Some(commands::Containers::Deploy(deploy)), Format::Table, &socket);
        }
        Command::Rollback { service, timeout, socket } => {
            let what = commands::Containers::Rollback { service, timeout };
            return commands::containers(Some(what), Format::Table, &socket);
        }
        Command::Compose { what } => commands::compose(what)?,
        Command::Logs { what, socket } => return commands::logs(what, &socket),
        Command::Products { what, format, socket } => return commands::products(what, &socket, format),
        Command::Status { format, socket } => return commands::status(&socket, format),
    }
    Ok(ExitCode::SUCCESS)
}

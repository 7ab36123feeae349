use super::datasource::{Bytes, Network};
use super::host::{Host, read_bounded};
use super::network::{self, Interfaces};
use super::plan_boot::tell_includes;
use super::userdata::{self, Sources};
use anyhow::Context as _;
use hostwright_core::yaml;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// `hostwright-bootstrap render`
#[derive(clap::Args, Debug)]
pub struct RenderArguments {
    /// A user-data of any format, a network-config or a network_data.json.
    pub file: PathBuf,
    /// The cloud's vendor-data, which fills up what the user-data leaves open.
    #[arg(long, value_name = "FILE")]
    pub vendor_data: Option<PathBuf>,
    /// What templates know of the instance: a JSON file as cloud-init's instance-data.json.
    #[arg(long, value_name = "FILE")]
    pub instance_data: Option<PathBuf>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    pub format: Format,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The merged cloud-config, with scripts as comments.
    Yaml,
    /// Everything, for programs.
    Json,
}

/// More than any cloud hands over.
const MAX_BYTES: u64 = 16 << 20;

/// Prints what a user-data comes to: its parts merged, its templates rendered, its scripts in the order of their runs.
/// Nothing is fetched and nothing touched.
///
/// # Errors
/// A file cannot be read.
pub fn render(arguments: &RenderArguments) -> anyhow::Result<ExitCode> {
    let read =
        |path: &PathBuf| read_bounded(path, MAX_BYTES).with_context(|| format!("cannot read {}", path.display()));
    let user_data = read(&arguments.file)?;
    let text = String::from_utf8_lossy(&user_data);
    if userdata::parts::type_by_start(&text).is_none()
        && let Some(description) = network::described(&text)
    {
        return Ok(render_network(arguments, &description));
    }
    let vendor_data: Vec<Bytes> =
        arguments.vendor_data.iter().map(|path| read(path).map(Bytes)).collect::<Result<_, _>>()?;
    let instance_data = match &arguments.instance_data {
        Some(path) => {
            serde_json::from_slice(&read(path)?).with_context(|| format!("{} is not JSON", path.display()))?
        }
        None => json!({}),
    };
    let sources = Sources { user_data: &user_data, vendor_data: &vendor_data, instance_data, ..Sources::default() };
    let rendered = userdata::render(&sources);
    let problems: Vec<_> = [&rendered.findings.errors[..], &rendered.findings.warnings].concat();
    for problem in &problems {
        eprintln!("{}:{problem}", arguments.file.display());
    }
    tell_includes(&arguments.file, &rendered.waiting);
    match arguments.format {
        Format::Yaml => {
            print!("#cloud-config\n{}", yaml::emit(&rendered.document));
            for script in rendered.scripts.iter().chain(&rendered.boothooks) {
                println!("# script {} ({:?}), {} lines", script.name, script.when, script.text.lines().count());
            }
        }
        Format::Json => println!(
            "{}",
            json!({
                "cloud_config": yaml::to_json(&rendered.document),
                "scripts": rendered.scripts,
                "boothooks": rendered.boothooks,
                "problems": problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        ),
    }
    Ok(if rendered.findings.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The files of systemd-networkd that a description of the network comes to on this machine.
fn render_network(arguments: &RenderArguments, description: &Network) -> ExitCode {
    let interfaces = Host::new("/".into(), "/proc".into(), "/sys".into()).map(|host| Interfaces::read(&host));
    let rendered = network::render(description, &interfaces.unwrap_or_default());
    for problem in &rendered.problems {
        eprintln!("{}:{problem}", arguments.file.display());
    }
    match arguments.format {
        Format::Yaml => rendered.files.iter().for_each(|file| println!("# {}\n{}", file.name, file.content)),
        Format::Json => {
            let files = rendered.files.iter().map(|file| (file.name.clone(), json!(file.content)));
            println!("{}", json!({"files": files.collect::<serde_json::Map<_, _>>()}));
        }
    }
    if rendered.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

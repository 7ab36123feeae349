use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The kernel answers at once; another program may hold the lock of the old iptables for a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives nft a script on its standard input, which it carries out as a whole or not at all.
pub async fn nft(script: &str) -> Result<(), String> {
    run("nft", &["-f", "-"], script).await.map(drop)
}

/// What nft says of all rules, without the content of sets.
pub async fn nft_ruleset() -> Result<String, String> {
    run("nft", &["--json", "--terse", "list", "ruleset"], "").await
}

/// Runs iptables, or whichever variant of it bears the name: the engine uses the same.
pub async fn iptables(arguments: &[&str]) -> Result<String, String> {
    run("iptables", arguments, "").await
}

async fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path()).env("LC_ALL", "C").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let exchange = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends early says why below.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let package = if program == "nft" { "nftables" } else { program };
            return Err(format!("there is no program {program}; the package {package} has it"));
        }
        Ok(Err(error)) => return Err(format!("{program} cannot be run: {error}")),
        Err(_) => return Err(format!("{program} did not end within {} s", PATIENCE.as_secs())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let first = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    Err(format!("{program} {} failed: {}", arguments.join(" "), first.trim()))
}

/// An operator's shell may lack the folders of the administrator's programs.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin:/usr/bin:/bin", std::env::var("PATH").unwrap_or_default())
}

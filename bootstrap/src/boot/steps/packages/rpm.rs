use super::super::command::Run;
use super::super::{Context, Failure};
use super::{DEADLINE, argument};
use crate::boot::userdata::packages::{Package, Packages};

/// Installs and upgrades. dnf and yum wait by themselves for others that hold their lock.
pub fn install(context: &Context<'_>, program: &str, packages: &Packages) -> Result<(), Failure> {
    if packages.update {
        run(context, program, &["makecache".to_owned()])?;
    }
    if packages.upgrade {
        run(context, program, &["upgrade".to_owned()])?;
    }
    let missing: Vec<_> = packages.install.iter().filter(|package| !is_there(context, package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["install".to_owned()];
    arguments.extend(missing.into_iter().map(|package| argument(package, '-')));
    run(context, program, &arguments)
}

fn is_there(context: &Context<'_>, package: &Package) -> bool {
    let mut command = context.host.command("rpm");
    command.args(["--query", "--quiet", "--whatprovides", &argument(package, '-')]);
    Run::new("packages", command).succeed(context).is_ok()
}

fn run(context: &Context<'_>, program: &str, arguments: &[String]) -> Result<(), Failure> {
    let mut command = context.host.command(program);
    command.arg("--assumeyes").args(arguments);
    Run { deadline: Some(DEADLINE), ..Run::new("packages", command) }.succeed(context)
}

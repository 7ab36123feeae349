use super::command::Run;
use super::{Action, Context, Failure, Outcome};
use crate::boot::userdata::random_seed::RandomSeed;
use serde::Serialize;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Randomness for the kernel's pool.
#[derive(Serialize)]
pub struct SeedRandom {
    seed: RandomSeed,
}

impl SeedRandom {
    pub fn new(seed: &RandomSeed) -> Self {
        Self { seed: seed.clone() }
    }
}

impl Action for SeedRandom {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let RandomSeed { path, data, command, command_required } = &self.seed;
        let here = context.host.path(path);
        let was_written = data.is_empty() || (context.resumed && is_there(&here, data));
        if !was_written {
            let written = here.parent().map_or(Ok(()), std::fs::create_dir_all);
            let written = written.and_then(|()| File::options().append(true).create(true).mode(0o600).open(&here));
            let written = written.and_then(|mut file| file.write_all(data));
            written.map_err(|e| Failure::io(format!("write to {path}"), &e))?;
        }
        let Some((program, arguments)) = command.split_first() else { return Ok(Outcome::Done) };
        if context.host.program(program).is_none() && !context.host.path(program).is_file() && !command_required {
            return Ok(Outcome::Skipped(format!("there is no program {program}")));
        }
        let mut command = context.host.command(program);
        command.args(arguments).env("RANDOM_SEED_FILE", path);
        Run { deadline: Some(Duration::from_secs(60)), ..Run::new("random seed", command) }.succeed(context)?;
        Ok(Outcome::Done)
    }
}

/// A try that was cut off has written it, if it is an ordinary file: a device forgets.
fn is_there(path: &Path, data: &[u8]) -> bool {
    path.is_file() && std::fs::read(path).is_ok_and(|content| content.ends_with(data))
}

use super::{Action, Context, Failure, Outcome};
use hostwright_core::config::section::Problem;
use serde::Serialize;

/// What is wrong in the user-data. What it stands in is left out, and everything else is done.
#[derive(Serialize)]
pub struct Validity {
    problems: Vec<String>,
}

impl Validity {
    pub fn new(problems: &[Problem]) -> Self {
        Self { problems: problems.iter().map(|problem| format!("user-data:{problem}")).collect() }
    }
}

impl Action for Validity {
    fn run(&self, _: &Context<'_>) -> Result<Outcome, Failure> {
        if self.problems.is_empty() {
            return Ok(Outcome::Done);
        }
        Err(Failure::new(
            format!("left out what is wrong in it: {}", self.problems.join("; ")),
            "correct the user-data; hostwright-bootstrap check FILE says the same before a boot",
        ))
    }
}

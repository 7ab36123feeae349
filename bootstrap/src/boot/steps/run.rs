use super::journal::{Journal, Record, State};
use super::order::Part;
use super::{Context, Failure, Frequency, Outcome, Stage, Step, interrupted_accounts, order};
use crate::boot::console::Console;
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Which steps are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The stage whose turn it is; nothing for all of them.
    pub stage: Option<Stage>,
}

impl Asked {
    /// The final stage also does what the early one did not come to.
    fn includes(self, step: &Step) -> bool {
        self.stage != Some(Stage::Early) || step.stage == Stage::Early
    }

    /// What the early stage tried in vain in this boot is for the next boot, not for the final stage.
    fn tries_again(self, step: &Step) -> bool {
        self.stage.is_none_or(|stage| step.stage == stage)
    }
}

/// As many steps are at work at once.
const WORKERS: usize = 4;

/// What a run reports to while it goes on.
pub struct Watch<'a> {
    /// A person at the console.
    pub console: &'a Console<'a>,
    /// Told whenever something is recorded, with the steps that are at work.
    pub progress: &'a dyn Fn(&Journal, &[String]),
    /// Called when the process is asked to end; it does not return.
    pub end: &'a dyn Fn(&Journal),
}

/// A step's place in the run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waits,
    Runs,
    Ended,
}

/// What comes to the one who records.
enum Message {
    Ended(usize, Box<Record>),
    AskedToEnd,
}

/// Carries out the steps whose turn it is, each when those that it waits for have ended, and records each before and
/// after.
///
/// # Errors
/// The journal cannot be written: nothing is done that cannot be recorded.
pub fn run(
    steps: &[Step],
    asked: Asked,
    journal: &mut Journal,
    (context, watch): (&Context<'_>, &Watch<'_>),
) -> io::Result<()> {
    let order = order::order(steps);
    let (sender, receiver) = mpsc::channel();
    tell_of_the_end(sender.clone());
    let mut places = vec![Place::Waits; steps.len()];
    std::thread::scope(|scope| {
        loop {
            let mut begun = Vec::new();
            for index in 0..steps.len() {
                let at_work = places.iter().filter(|place| **place == Place::Runs).count();
                let is_free = order[index].iter().all(|earlier| places[*earlier] == Place::Ended);
                if places[index] != Place::Waits || !is_free || at_work >= WORKERS {
                    continue;
                }
                match begin(&steps[index], steps, asked, journal) {
                    Begin::Past => places[index] = Place::Ended,
                    Begin::NotNow(record) => {
                        places[index] = Place::Ended;
                        watch.console.step(&record);
                        journal.note(*record)?;
                    }
                    Begin::Now(record, resumed) => {
                        places[index] = Place::Runs;
                        begun.push((index, record, resumed));
                    }
                }
            }
            journal.note_all(begun.iter().map(|(_, record, _)| (**record).clone()).collect())?;
            for (index, record, resumed) in begun {
                let (sender, step) = (sender.clone(), &steps[index]);
                let context = Context { resumed, ..context.clone() };
                // Who runs it alone has nothing else to do meanwhile, but a request to end must be heard.
                scope.spawn(move || {
                    let ended = carry_out(step, *record, &context);
                    // Nobody listens any more only when the process ends.
                    let _ = sender.send(Message::Ended(index, Box::new(ended)));
                });
            }
            let at_work = |places: &[Place]| {
                let running = places.iter().zip(steps).filter(|(place, _)| **place == Place::Runs);
                running.map(|(_, step)| step.name.clone()).collect::<Vec<_>>()
            };
            let running = at_work(&places);
            if running.is_empty() {
                // What is free now was not when it was looked at, or everything has ended.
                if places.iter().all(|place| *place == Place::Ended) {
                    return Ok(());
                }
                continue;
            }
            (watch.progress)(journal, &running);
            match receiver.recv() {
                Ok(Message::Ended(index, record)) => {
                    places[index] = Place::Ended;
                    watch.console.step(&record);
                    journal.note(*record)?;
                }
                Ok(Message::AskedToEnd) => (watch.end)(journal),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    })
}

/// Sends a message when systemd asks the process to end. What it is about is then recorded as begun, and goes on at the
/// next start.
fn tell_of_the_end(sender: mpsc::Sender<Message>) {
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            if let Ok(mut asked) = signal(SignalKind::terminate()) {
                asked.recv().await;
                let _ = sender.send(Message::AskedToEnd); // the run may be over
            }
        });
    };
    if let Err(error) = std::thread::Builder::new().stack_size(128 << 10).spawn(listen) {
        log::warn!("a request to end will not be reported: {error}");
    }
}

/// How a step begins.
enum Begin {
    Past,
    NotNow(Box<Record>),
    Now(Box<Record>, bool),
}

fn begin(step: &Step, steps: &[Step], asked: Asked, journal: &Journal) -> Begin {
    let turn = if asked.includes(step) { turn(step, asked, journal) } else { Turn::Past };
    if turn == Turn::Past {
        return Begin::Past;
    }
    // A record of a step that the user-data no longer names stops nothing.
    let mut planned = step.needs.iter().filter(|need| steps.iter().any(|step| step.name == **need));
    let failed = planned.find(|need| journal.record(need).is_some_and(|record| !record.state.is_well()));
    let record = Record {
        step: step.name.clone(),
        stage: step.stage,
        input: step.input.clone(),
        boot: journal.boot(),
        started: Timestamp::now(),
        uptime: uptime(),
        seconds: 0.0,
        state: State::Running,
        cuts: cuts(step, journal),
        why: String::new(),
        remedy: String::new(),
    };
    match failed {
        Some(need) => Begin::NotNow(Box::new(not_run(record, need))),
        None if turn == Turn::GivenUp => Begin::NotNow(Box::new(given_up(record))),
        None => Begin::Now(Box::new(record), turn != Turn::First),
    }
}

fn uptime() -> Option<f64> {
    let since_start = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    Some(Duration::from(since_start).as_secs_f64())
}

/// What would become of a step, in a word or two.
pub fn foreseen(step: &Step, journal: &Journal) -> String {
    let asked = Asked { stage: None };
    match (turn(step, asked, journal), journal.record(&step.name)) {
        (Turn::First, None) => "would be done".to_owned(),
        (Turn::First, Some(record)) if record.input != step.input => "would be done again: it has changed".to_owned(),
        (Turn::First, Some(_)) => "would be done, as at each boot".to_owned(),
        (Turn::Again, _) => "would be tried again".to_owned(),
        (Turn::GivenUp, _) => "would be given up".to_owned(),
        (Turn::Past, record) => match record {
            Some(record) => format!("{} in boot {}", record.state.name(), record.boot),
            None => "nothing to do".to_owned(),
        },
    }
}

/// Whether it is a step's turn.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    First,
    Again,
    GivenUp,
    Past,
}

/// An operator's command that was cut off so often is taken for one that ends the boot.
const MAX_CUTS: u32 = 2;

/// How often in a row the step was cut off.
fn cuts(step: &Step, journal: &Journal) -> u32 {
    let record = journal.record(&step.name).filter(|record| record.input == step.input);
    record.map_or(0, |record| match record.state {
        State::Running => record.cuts + 1,
        State::NotRun => record.cuts,
        State::Done | State::Skipped | State::Failed => 0,
    })
}

fn turn(step: &Step, asked: Asked, journal: &Journal) -> Turn {
    let Some(record) = journal.record(&step.name) else { return Turn::First };
    let in_this_boot = record.boot == journal.boot();
    let is_past = match record.state {
        State::Running if step.can_end_the_boot && cuts(step, journal) >= MAX_CUTS => return Turn::GivenUp,
        State::Running => return Turn::Again,
        State::Done | State::Skipped => match step.frequency {
            Frequency::Instance => record.input == step.input,
            Frequency::InstanceOnly => true,
            Frequency::Boot => in_this_boot && record.input == step.input,
        },
        State::Failed if record.cuts >= MAX_CUTS && step.can_end_the_boot && record.input == step.input => true,
        State::Failed | State::NotRun => in_this_boot && !asked.tries_again(step),
    };
    match is_past {
        true => Turn::Past,
        false if record.state.is_well() => Turn::First,
        false => Turn::Again,
    }
}

fn given_up(record: Record) -> Record {
    let why = "it was cut off twice; it is not run again".to_owned();
    let remedy =
        "if it reboots or powers off, take it out of the user-data; else correct it there or run it by hand".to_owned();
    Record { state: State::Failed, why, remedy, ..record }
}

fn not_run(record: Record, need: &str) -> Record {
    let why = format!("it needs the step {need}, which has not succeeded");
    Record { state: State::NotRun, why, remedy: see_first(need), ..record }
}

fn see_first(step: &str) -> String {
    format!("see what {step} says; the next boot tries again")
}

fn carry_out(step: &Step, record: Record, context: &Context<'_>) -> Record {
    let started = Instant::now();
    if context.resumed && step.part == Part::Accounts {
        interrupted_accounts::mend(context.host);
    }
    // A step that panics is one more that failed: the others go on.
    let outcome = catch_unwind(AssertUnwindSafe(|| step.action.run(context))).unwrap_or_else(|_| {
        Err(Failure::new("it ended by an error of the program itself", "report it with the journal of this unit"))
    });
    let (state, why, remedy) = match outcome {
        Ok(Outcome::Done) => (State::Done, String::new(), String::new()),
        Ok(Outcome::Skipped(why)) => (State::Skipped, why, String::new()),
        Ok(Outcome::NotRun { why, see }) => (State::NotRun, why, see_first(&see)),
        Err(Failure { why, remedy }) => (State::Failed, why, remedy),
    };
    // Milliseconds are as much as anybody reads.
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    Record { state, why, remedy, seconds, ..record }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Context, Failure, Frequency, Outcome, Stage, Step};
    use super::{Asked, Watch, run};
    use crate::boot::console::Console;
    use crate::boot::host::Host;
    use crate::boot::steps::journal::{Journal, State};
    use serde::Serialize;
    use std::path::{Path, PathBuf};

    /// Writes a line into a file, and fails while another file is there.
    #[derive(Serialize)]
    struct Write {
        line: &'static str,
        unless: &'static str,
    }

    impl Action for Write {
        fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
            if context.folder.join(self.unless).exists() {
                return Err(Failure::new("it is there", "remove it"));
            }
            let path = context.folder.join("lines");
            let before = std::fs::read_to_string(&path).unwrap_or_default();
            std::fs::write(path, format!("{before}{} ", self.line)).map_err(|e| Failure::io("write", &e))?;
            Ok(Outcome::Done)
        }
    }

    fn step(line: &'static str) -> Step {
        Step::new(line, Write { line, unless: if line == "b" { "block" } else { "nothing" } })
    }

    fn boot(tree: &Path, boot_id: &str, steps: &[Step], stage: Option<Stage>) -> (String, Journal) {
        let host = Host::new(tree.to_owned(), PathBuf::from("/proc"), PathBuf::from("/sys")).expect("host");
        let mut journal = Journal::open(tree.join("journal"), boot_id).expect("journal");
        let context = Context { host: &host, instance_id: "i-1", folder: tree.to_owned(), resumed: false };
        let console = Console::new(&host);
        let watch = Watch { console: &console, progress: &|_, _| (), end: &|_| () };
        run(steps, Asked { stage }, &mut journal, (&context, &watch)).expect("recorded");
        let lines = std::fs::read_to_string(tree.join("lines")).unwrap_or_default();
        let _ = std::fs::remove_file(tree.join("lines"));
        (lines, journal)
    }

    /// Ends only when as many are at work at once.
    #[derive(Serialize)]
    struct Meet {
        #[serde(skip)]
        at: std::sync::Arc<std::sync::Barrier>,
    }

    impl Action for Meet {
        fn run(&self, _: &Context<'_>) -> Result<Outcome, Failure> {
            self.at.wait();
            Ok(Outcome::Done)
        }
    }

    #[test]
    fn steps_that_wait_for_nobody_are_at_work_side_by_side() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let at = std::sync::Arc::new(std::sync::Barrier::new(3));
        let steps = ["hostname", "users", "timezone"].map(|name| Step::new(name, Meet { at: at.clone() }));
        assert_eq!(boot(tree.path(), "1", &steps, None).1.record("users").expect("recorded").state, State::Done);
    }

    #[test]
    fn a_reboot_does_the_steps_of_each_boot_alone() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let steps = [step("a"), step("b").with_frequency(Frequency::Boot), step("c").in_the_final_stage()];
        assert_eq!(boot(tree.path(), "1", &steps, Some(Stage::Early)).0, "a b ");
        assert_eq!(boot(tree.path(), "1", &steps, Some(Stage::Final)).0, "c ");
        assert_eq!(boot(tree.path(), "2", &steps, None).0, "b ");
    }

    #[test]
    fn a_failed_step_stops_what_needs_it_and_nothing_else_and_the_next_boot_tries_it_again() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let steps = [
            step("a"),
            step("b"),
            step("c").needing(&["b"]),
            step("d").needing(&["a"]),
            step("e").in_the_final_stage(),
        ];
        std::fs::write(tree.path().join("block"), "").expect("written");
        let (lines, journal) = boot(tree.path(), "1", &steps, Some(Stage::Early));
        assert_eq!(lines, "a d ");
        let c = journal.record("c").expect("recorded");
        assert!(c.state == State::NotRun && c.why.contains("needs the step b"), "{c:?}");
        std::fs::remove_file(tree.path().join("block")).expect("removed");
        assert_eq!(boot(tree.path(), "1", &steps, Some(Stage::Final)).0, "e ", "the early stage had its turn");
        assert_eq!(boot(tree.path(), "2", &steps, Some(Stage::Early)).0, "b c ");
    }

    #[test]
    fn a_changed_input_is_done_again_unless_it_is_once_for_the_instance() {
        let tree = tempfile::tempdir().expect("temporary folder");
        boot(tree.path(), "1", &[step("a"), step("c").with_frequency(Frequency::InstanceOnly)], None);
        let changed =
            |name: &str, frequency| Step::new(name, Write { line: "x", unless: "nothing" }).with_frequency(frequency);
        let steps = [changed("a", Frequency::Instance), changed("c", Frequency::InstanceOnly)];
        assert_eq!(boot(tree.path(), "2", &steps, None).0, "x ");
    }

    #[test]
    fn a_command_that_was_cut_off_twice_is_given_up_and_the_others_go_on() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let steps = [step("reboot").of_a_command(), step("rest").of_a_command()];
        let cut = |boot_id: &str| {
            let mut journal = Journal::open(tree.path().join("journal"), boot_id).expect("journal");
            let cuts = super::cuts(&steps[0], &journal);
            let record = super::Record {
                step: "reboot".into(),
                stage: Stage::Early,
                input: steps[0].input.clone(),
                boot: journal.boot(),
                started: jiff::Timestamp::UNIX_EPOCH,
                uptime: None,
                seconds: 0.0,
                state: State::Running,
                cuts,
                why: String::new(),
                remedy: String::new(),
            };
            journal.note(record).expect("noted");
        };
        cut("1");
        cut("2");
        let (lines, journal) = boot(tree.path(), "3", &steps, None);
        assert_eq!(lines, "rest ");
        let record = journal.record("reboot").expect("recorded");
        assert!(record.state == State::Failed && record.why.contains("cut off twice"), "{record:?}");
        assert_eq!(boot(tree.path(), "4", &steps, None).0, "", "not at a later boot either");
        let corrected = [Step::new("reboot", Write { line: "other", unless: "nothing" }).of_a_command()];
        assert_eq!(boot(tree.path(), "5", &corrected, None).0, "other ");
    }

    #[test]
    fn a_step_that_was_cut_off_is_done_again_in_the_same_boot() {
        let tree = tempfile::tempdir().expect("temporary folder");
        let (_, mut journal) = boot(tree.path(), "1", &[step("a")], None);
        let cut = super::Record { state: State::Running, ..journal.record("a").expect("recorded").clone() };
        journal.note(cut).expect("noted");
        assert_eq!(boot(tree.path(), "1", &[step("a")], Some(Stage::Final)).0, "a ");
    }
}

use super::Findings;
use super::commands;
use super::values::Text;
use hostwright_core::config::section::Section;
use hostwright_core::yaml::{Node, Scalar};
use serde::Serialize;

/// `power_state:`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Power {
    /// What happens.
    pub mode: Mode,
    /// In how many minutes; nothing for at once.
    pub delay: Option<u32>,
    /// What those who are logged in are told.
    pub message: Option<String>,
    /// A line for the shell: only if it ends with 0.
    pub condition: Option<String>,
}

/// `mode:`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// The host starts again.
    Reboot,
    /// The host is switched off.
    PowerOff,
    /// The host stops, and stays on.
    Halt,
}

impl Power {
    /// Reads the top-level key; nothing where its condition is `false`.
    pub fn read(root: &mut Section<'_>, findings: &mut Findings) -> Option<Self> {
        findings.whole(root.node("power_state")?, "power_state", power)?
    }
}

fn power(mut section: Section<'_>, findings: &mut Findings) -> Option<Option<Power>> {
    let mode = section.required::<String>("mode").and_then(|text| match text.as_str() {
        "reboot" => Some(Mode::Reboot),
        "poweroff" => Some(Mode::PowerOff),
        "halt" => Some(Mode::Halt),
        _ => {
            section.problem_with("mode", &format!("expected reboot, poweroff or halt, found {text:?}"));
            None
        }
    });
    let delay = section.or("delay", Text("now".into())).0;
    let minutes = delay.trim_start_matches('+').parse().ok();
    if delay != "now" && minutes.is_none() {
        section.problem_with("delay", &format!("expected now or a number of minutes, found {delay:?}"));
    }
    let message = section.optional::<Text>("message").map(|text| text.0).filter(|text| !text.is_empty());
    if let Some(node) =
        section.node("timeout").filter(|node| node.text().is_none_or(|text| text.parse::<f64>().is_err()))
    {
        findings.error(node.place, "power_state.timeout", "expected a number of seconds".to_owned());
    }
    let condition = section.node("condition").map_or(Some(Condition::Always), |node| condition(node, findings));
    section.finish();
    let condition = match condition? {
        Condition::Never => return Some(None),
        Condition::Always => None,
        Condition::If(line) => Some(line),
    };
    Some(Some(Power { mode: mode?, delay: minutes.filter(|_| delay != "now"), message, condition }))
}

enum Condition {
    Always,
    Never,
    If(String),
}

fn condition(node: &Node, findings: &mut Findings) -> Option<Condition> {
    match node.scalar() {
        Some(Scalar::Bool(true)) => Some(Condition::Always),
        Some(Scalar::Bool(false)) => Some(Condition::Never),
        _ => commands::command("power_state.condition", node, findings).map(Condition::If),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::Mode;

    #[test]
    fn a_change_of_power_has_a_delay_and_a_condition() {
        let power = |text: &str| read(format!("#cloud-config\npower_state: {text}\n").as_bytes());
        let whole = power("{mode: reboot, delay: '+30', message: bye, timeout: 5, condition: [test, -f, /a b]}");
        assert!(whole.findings.errors.is_empty(), "{:?}", whole.findings.errors);
        let read = whole.config.power.expect("power");
        assert_eq!((read.mode, read.delay), (Mode::Reboot, Some(30)));
        assert_eq!(read.condition.as_deref(), Some("test -f '/a b'"));
        assert!(power("{mode: halt, condition: false}").config.power.is_none());
        assert_eq!(power("{mode: halt, delay: now, condition: true}").config.power.expect("power").delay, None);
        assert_eq!(power("{mode: sleep, delay: soon, timeout: x}").findings.errors.len(), 3);
    }
}

use super::host::Host;
use super::report::{Report, StepReport};
use anyhow::Context as _;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// `hostwright-bootstrap analyze`
#[derive(clap::Args, Debug)]
pub struct AnalyzeArguments {
    /// The longest steps first; else in the order in which they began.
    #[arg(long)]
    pub longest: bool,
    /// Write a waterfall to this file too.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// A boot's report.
    #[arg(long, value_name = "FILE", default_value = "/run/hostwright/boot.json")]
    pub report: PathBuf,
}

/// A step of the boot with when it began and how long it took, in seconds.
struct Bar<'a> {
    step: &'a StepReport,
    from: f64,
}

/// Shows what the last boot's time went to.
///
/// # Errors
/// There is no report, or the waterfall cannot be written.
pub fn analyze(arguments: &AnalyzeArguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.report;
    let text = std::fs::read(path).with_context(|| {
        format!("cannot read {}; a boot's report is root's alone and there once a stage is over", path.display())
    })?;
    let report: Report = serde_json::from_slice(&text).with_context(|| format!("{} is no report", path.display()))?;
    let host = Host::new("/".into(), "/proc".into(), "/sys".into())?;
    let mut bars = bars(&report, started(&host, &report));
    if arguments.longest {
        bars.sort_by(|a, b| b.step.seconds.total_cmp(&a.step.seconds));
    }
    print!("{}", table(&report, &bars));
    if let Some(svg) = &arguments.svg {
        std::fs::write(svg, waterfall(&report, &bars)).with_context(|| format!("cannot write {}", svg.display()))?;
        println!("the waterfall is in {}", svg.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// No boot takes so long to come to its first step, in seconds.
const LONG: f64 = 3600.0;

/// When the machine started, if the report is of this run of it; else when the first step did.
fn started(host: &Host, report: &Report) -> Timestamp {
    let up = jiff::SignedDuration::from_secs_f64(host.uptime());
    let machine = Timestamp::now().checked_sub(up).unwrap_or(report.written);
    let first = report.steps.iter().filter(|step| step.boot == Some(report.boot)).filter_map(|step| step.started).min();
    match first {
        Some(first) if machine <= first && first.duration_since(machine).as_secs_f64() < LONG => machine,
        Some(first) => first,
        None => report.written,
    }
}

fn bars(report: &Report, started: Timestamp) -> Vec<Bar<'_>> {
    let of_this_boot = || report.steps.iter().filter(|step| step.boot == Some(report.boot));
    let first = of_this_boot().filter_map(|step| step.uptime).min_by(f64::total_cmp).unwrap_or(0.0);
    // Steps of a machine that has been up for long are not shown as a boot's.
    let zero = if first < LONG { 0.0 } else { first };
    let from = |step: &StepReport| match step.uptime {
        Some(uptime) => Some(uptime - zero),
        None => Some(step.started?.duration_since(started).as_secs_f64().max(0.0)),
    };
    let mut bars: Vec<_> = of_this_boot().filter_map(|step| Some(Bar { step, from: from(step)? })).collect();
    bars.sort_by(|a, b| a.from.total_cmp(&b.from));
    bars
}

fn table(report: &Report, bars: &[Bar<'_>]) -> String {
    if report.steps.is_empty() {
        let why: String = report.warnings.iter().map(|why| format!(": {why}")).collect();
        return format!("no step belongs to this boot{why}\n");
    }
    let width = bars.iter().map(|bar| bar.step.name.len()).max().unwrap_or(4).max(4);
    let mut text = format!("{:>9} {:>9}  {:<5}  {:<width$}  HOW IT ENDED\n", "BEGAN", "TOOK", "STAGE", "STEP");
    for Bar { step, from } in bars {
        let stage = format!("{:?}", step.stage).to_ascii_lowercase();
        let line =
            format!("{from:>7.2} s {:>7.3} s  {stage:<5}  {:<width$}  {}", step.seconds, step.name, step.outcome);
        text.push_str(&format!("{line}\n"));
    }
    let earlier = report.steps.len() - bars.len();
    let whole = bars.iter().fold(0.0, |whole, bar| whole + bar.step.seconds);
    let end = bars.iter().map(|bar| bar.from + bar.step.seconds).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "{} steps took {whole:.2} s together, the last one ended at {end:.2} s; {earlier} were done in an earlier boot or not yet",
        bars.len()
    );
    text
}

const ROW: f64 = 18.0;
const NAMES: f64 = 220.0;
const CHART: f64 = 900.0;

/// One row a step, from left to right as time goes.
fn waterfall(report: &Report, bars: &[Bar<'_>]) -> String {
    let end = bars.iter().map(|bar| bar.from + bar.step.seconds).fold(0.1, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "rows of a picture")]
    let height = ROW * (bars.len() as f64 + 3.0);
    let at = |seconds: f64| NAMES + seconds / end * CHART;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"11\" style=\"background:#fff\">\n<title>{}</title>\n",
        NAMES + CHART + 80.0,
        escaped(&format!(
            "hostwright-bootstrap {}, boot {}",
            report.instance_id.as_deref().unwrap_or("-"),
            report.boot
        ))
    );
    for tenth in 0..=10 {
        let seconds = end * f64::from(tenth) / 10.0;
        let x = at(seconds);
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {ROW} V{height:.0}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"12\">{seconds:.2} s</text>"
        );
    }
    let mut y = ROW * 1.5;
    for Bar { step, from } in bars {
        let color = match step.outcome.as_str() {
            "done" => "#4a90d9",
            "skipped" => "#bbb",
            _ => "#d9534a",
        };
        let (x, width) = (at(*from), (step.seconds / end * CHART).max(1.0));
        let name = escaped(&step.name);
        let _ = writeln!(
            svg,
            "<text x=\"4\" y=\"{:.1}\">{name}</text><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"12\" fill=\"{color}\"/><text x=\"{:.1}\" y=\"{:.1}\">{:.3} s</text>",
            y + 10.0,
            x + width + 4.0,
            y + 10.0,
            step.seconds
        );
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{bars, table, waterfall};
    use crate::boot::report::{Report, StepReport, Verdict};
    use crate::boot::steps::Stage;
    use jiff::Timestamp;

    #[test]
    fn steps_of_this_boot_stand_in_the_order_in_which_they_began() {
        let step = |name: &str, boot, at, seconds| StepReport {
            name: name.into(),
            stage: Stage::Early,
            boot: Some(boot),
            started: Timestamp::from_second(at).ok(),
            uptime: None,
            seconds,
            outcome: "done".into(),
            why: String::new(),
            remedy: String::new(),
        };
        let mut report = Report::without_steps("nocloud".into(), Stage::Final, Vec::new(), Verdict::Ok);
        report.boot = 2;
        report.steps = vec![step("b<", 2, 12, 0.5), step("a", 2, 11, 1.0), step("old", 1, 1, 9.0)];
        let bars = bars(&report, Timestamp::from_second(10).expect("time"));
        let text = table(&report, &bars);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].contains("1.00 s") && lines[1].contains(" a ") && lines[2].contains("b<"), "{text}");
        assert!(text.contains("the last one ended at 2.50 s; 1 were"), "{text}");
        // The clock was set back by years between the two.
        for (uptime, began) in [([2.0, 3.5], ["2.00 s", "3.50 s"]), ([7200.0, 7201.5], ["0.00 s", "1.50 s"])] {
            let mut report = report.clone();
            report.steps.iter_mut().zip(uptime.into_iter().map(Some)).for_each(|(step, uptime)| step.uptime = uptime);
            let text = table(&report, &super::bars(&report, Timestamp::from_second(10).expect("time")));
            let lines: Vec<_> = text.lines().collect();
            assert!(lines[1].contains(began[0]) && lines[1].contains("b<") && lines[2].contains(began[1]), "{text}");
        }
        let nothing = Report::without_steps("none".into(), Stage::Final, vec!["x".into()], Verdict::Failed);
        assert_eq!(table(&nothing, &[]), "no step belongs to this boot: x\n");
        let svg = waterfall(&report, &bars);
        assert!(svg.contains("b&lt;") && svg.matches("<rect").count() == 2 && svg.ends_with("</svg>\n"));
    }
}

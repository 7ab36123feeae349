use super::host::Host;
use super::report::Report;
use super::steps::journal::Record;
use std::io::Write as _;

/// What a person sees who looks at the serial console while the host boots.
pub struct Console<'a> {
    host: &'a Host,
}

impl<'a> Console<'a> {
    /// Lines go to standard output, which the units send to the journal and the console.
    pub fn new(host: &'a Host) -> Self {
        Self { host }
    }

    /// A step has ended: `[ 12.3s] users            done   0.21 s`.
    pub fn step(&self, record: &Record) {
        let (name, state, seconds) = (&record.step, record.state.name(), record.seconds);
        let mut line = format!("{name:<16} {state:<7}{seconds:>6.2} s");
        if !record.why.is_empty() {
            line.push_str(&format!("  {}", record.why));
        }
        if !record.remedy.is_empty() {
            line.push_str(&format!(" -> {}", record.remedy));
        }
        self.line(&line);
    }

    /// Anything else that happens.
    pub fn line(&self, text: &str) {
        self.plain(&format!("[{:>5.1}s] {text}", self.host.uptime()));
    }

    /// The user-data's `final_message:` with cloud-init's variables in either of their forms.
    pub fn final_message(&self, message: &str, report: &Report) {
        let mut text = message.to_owned();
        for (name, value) in [
            ("uptime", format!("{:.2}", self.host.uptime())),
            ("timestamp", report.written.to_string()),
            ("datasource", report.datasource.clone()),
            ("version", report.version.clone()),
        ] {
            let upper = name.to_ascii_uppercase();
            for form in [format!("${name}"), format!("${upper}"), format!("${{{name}}}"), format!("${{{upper}}}")] {
                text = text.replace(&form, &value);
            }
        }
        self.plain(text.trim_end());
    }

    /// A line as it is.
    pub fn plain(&self, text: &str) {
        // A console that is gone must not stop the boot.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

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

    /// The user-data's `final_message:` with cloud-init's variables in each of their forms: `$UPTIME`, `${uptime}` and,
    /// below `## template: jinja`, `{{ uptime }}`.
    pub fn final_message(&self, message: &str, report: &Report) {
        let body = match message.trim_start().split_once('\n') {
            Some((first, rest)) if first.starts_with("##") && first.contains("template") => rest,
            _ => message,
        };
        let mut text = body.to_owned();
        for (name, value) in [
            ("uptime", format!("{:.2}", self.host.uptime())),
            ("timestamp", report.written.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()),
            ("datasource", report.datasource.clone()),
            ("version", report.version.clone()),
        ] {
            for name in [name.to_owned(), name.to_ascii_uppercase()] {
                let forms = [
                    format!("${{{name}}}"),
                    format!("${name}"),
                    format!("{{{{{name}}}}}"),
                    format!("{{{{ {name} }}}}"),
                ];
                text = forms.iter().fold(text, |text, form| text.replace(form.as_str(), &value));
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

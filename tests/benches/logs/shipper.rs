use anyhow::Result;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::server::Server;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A program that follows files and ships their lines.
pub enum Shipper {
    Agent(AgentProcess),
    Rsyslog { server: Server, _folder: TempDir },
}

/// How rsyslog writes a line: as it is, or as a message of RFC 5424.
#[derive(Clone, Copy, Debug)]
pub enum Template {
    Raw,
    Rfc5424,
}

impl Shipper {
    /// Our agent, with the settings of one source's parsing and of one output.
    pub fn agent(files: &str, parse: &str, output: &str) -> Result<Self> {
        let config = format!(
            "host: {{name: benchhost, labels: {{environment: prod}}}}\nlogs:\n  sources:\n    \
             access: {{files: ['{files}'], parse: {parse}, outputs: [o]}}\n  outputs:\n    o: {{{output}}}\n"
        );
        AgentProcess::start(&config).map(Self::Agent)
    }

    /// rsyslog's imfile and omfwd, as a careful operator would set them.
    pub fn rsyslog(files: &str, template: Template, to: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().display();
        let template = match template {
            Template::Raw => "raw",
            Template::Rfc5424 => "RSYSLOG_SyslogProtocol23Format",
        };
        let config = format!(
            "global(workDirectory=\"{path}\" maxMessageSize=\"1m\")\nmodule(load=\"imfile\" mode=\"inotify\")\n\
             template(name=\"raw\" type=\"string\" string=\"%msg%\\n\")\n\
             ruleset(name=\"out\") {{ action(type=\"omfwd\" target=\"{}\" port=\"{}\" protocol=\"tcp\" template=\"{template}\" \
             action.resumeRetryCount=\"-1\") }}\n\
             input(type=\"imfile\" file=\"{files}\" tag=\"access\" ruleset=\"out\")\n",
            to.ip(),
            to.port(),
        );
        let file = folder.path().join("rsyslog.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.path().join("pid"));
        let server = Server::start(&command, &folder.path().join("log"))?;
        Ok(Self::Rsyslog { server, _folder: folder })
    }

    pub fn process(&self) -> i32 {
        match self {
            Self::Agent(agent) => agent.pid(),
            Self::Rsyslog { server, .. } => server.pid().as_raw(),
        }
    }

    /// What it said, for the case that it fails.
    pub fn said(&self) -> String {
        let log = match self {
            Self::Agent(agent) => agent.output(),
            Self::Rsyslog { server, .. } => server.log(),
        };
        hostwright_tests::server::tail(&log)
    }
}

/// A pattern for all logs of a folder.
pub fn all_in(folder: &Path) -> String {
    folder.join("*.log").display().to_string()
}

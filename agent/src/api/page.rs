use hostwright_core::status::AgentStatus;
use std::fmt::Write as _;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #ddd;vertical-align:top}\
    .ok{color:#176b2c}.degraded{color:#8a5a00}.failed{color:#a11}.starting{color:#555}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}td,th{border-color:#333}.ok{color:#6c6}.degraded{color:#fb4}.failed{color:#f77}}";

/// The status as a page for people.
pub(super) fn render(status: &AgentStatus) -> String {
    let mut rows = String::new();
    for (name, row) in &status.duties {
        let _ = write!(
            rows,
            "<tr><td>{}</td><td class=\"{state}\">{state}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            escape(row.status.explanation()),
            row.since.strftime("%Y-%m-%d %H:%M:%S UTC"),
            row.restarts,
            state = row.status.name(),
        );
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"5\"><title>{host}</title><style>{STYLE}</style>\
         <h1>{host}</h1><p>hostwright-agent {version}, {ready}, since {started}</p>\
         <table><tr><th>duty</th><th>state</th><th>what it says</th><th>since</th><th>restarts</th></tr>{rows}</table></html>",
        host = escape(&status.host),
        version = escape(&status.version),
        ready = if status.ready { "ready" } else { "not ready yet" },
        started = status.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

use hostwright_core::status::AgentStatus;
use std::fmt::Write as _;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #ddd;vertical-align:top}\
    .ok{color:#176b2c}.degraded{color:#8a5a00}.failed{color:#a11}.starting{color:#555}h2{font-size:1rem;margin-top:2rem}pre{overflow:auto;padding:.6rem .8rem;background:#8882;font-size:13px}\
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
         <table><tr><th>duty</th><th>state</th><th>what it says</th><th>since</th><th>restarts</th></tr>{rows}</table>{snippets}</html>",
        host = escape(&status.host),
        version = escape(&status.version),
        snippets = snippets(status),
        ready = if status.ready { "ready" } else { "not ready yet" },
        started = status.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
    )
}

/// Texts to be copied, which a duty gives under `snippets` in its details: by title.
fn snippets(status: &AgentStatus) -> String {
    let mut all = String::new();
    for given in status.duties.values().filter_map(|row| row.details.get("snippets")?.as_object()) {
        for (title, text) in given {
            let text = escape(text.as_str().unwrap_or_default());
            let _ = write!(all, "<h2>{}</h2><pre>{text}</pre>", escape(title));
        }
    }
    all
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::render;
    use hostwright_core::status::{AgentStatus, DutyStatus, Status};
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn what_duties_say_is_shown_as_text_whatever_is_in_it() {
        let row = DutyStatus {
            status: Status::Degraded { why: "a <b> & \"c\"".into() },
            since: Timestamp::UNIX_EPOCH,
            restarts: 2,
            details: json!({"snippets": {"Find <it>": "- {a: \"b\"} # <&>\n"}}),
        };
        let status = AgentStatus {
            version: "1".into(),
            host: "h".into(),
            started: Timestamp::UNIX_EPOCH,
            ready: true,
            duties: [("metrics".to_owned(), row)].into(),
        };
        let page = render(&status);
        assert!(page.contains("<td>a &lt;b&gt; &amp; &quot;c&quot;</td>"), "{page}");
        assert!(page.contains("<h2>Find &lt;it&gt;</h2><pre>- {a: &quot;b&quot;} # &lt;&amp;&gt;\n</pre>"), "{page}");
    }
}

use crate::logs::status::size;
use hostwright_core::terminal::name;
use serde_json::Value;
use std::fmt::Write as _;

/// How far each source is at each output, for a person.
pub fn table(details: &Value) -> String {
    let mut text = String::new();
    let row = |text: &mut String, cells: [&str; 8]| {
        let [source, output, files, lag, age, rate, lines, dead] = cells;
        let _ =
            writeln!(text, "{source:<14} {output:<12} {files:>6} {lag:>10} {age:>7} {rate:>16} {lines:>12} {dead:>6}");
    };
    row(&mut text, ["SOURCE", "OUTPUT", "FILES", "LAG", "BEHIND", "RATE", "LINES", "DEAD"]);
    for (name, source) in details["sources"].as_object().into_iter().flatten() {
        for (output, counts) in source["outputs"].as_object().into_iter().flatten() {
            let (lag, age) = behind(source, output);
            let rate =
                format!("{} l/s {}/s", number(&counts["lines_per_second"]), size(number(&counts["bytes_per_second"])));
            row(
                &mut text,
                [
                    name,
                    output,
                    &source["files"].to_string(),
                    &size(lag),
                    &format!("{age} s"),
                    &rate,
                    &counts["lines"].to_string(),
                    &counts["dead_letters"].to_string(),
                ],
            );
        }
    }
    text.push('\n');
    for (name, source) in details["sources"].as_object().into_iter().flatten() {
        kept(name, source, &mut text);
    }
    for (name, output) in details["outputs"].as_object().into_iter().flatten() {
        let _ = write!(text, "{name}: {}", output["state"].as_str().unwrap_or_default());
        match (output["why"].as_str(), output["last_error"].as_str()) {
            (Some(why), _) => drop(writeln!(text, ": {why}")),
            (None, Some(last)) => {
                let at = output["last_error_at"].as_str().unwrap_or_default();
                let _ = writeln!(text, "; last error at {at}: {last}");
            }
            (None, None) => text.push('\n'),
        }
        if let Some(remark) = output["remark"].as_str() {
            let _ = writeln!(text, "{name}: {remark}");
        }
    }
    for problem in details["problems"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{}", problem.as_str().unwrap_or_default());
    }
    files(details, &mut text);
    text
}

/// What of a source is kept for outputs that lack it, and what could not be kept.
fn kept(name: &str, source: &Value, text: &mut String) {
    if let Some(at) = source["will_be_lost_at"].as_str() {
        let unread = size(number(&source["unread_bytes"]));
        let _ = writeln!(
            text,
            "{name}: {unread} wait for an output; from about {at} on lines will be lost if this goes on"
        );
    }
    match number(&source["lost_bytes"]) {
        0 => {}
        lost => drop(writeln!(text, "{name}: {} were gone before every output had them", size(lost))),
    }
}

/// The files that are not done.
fn files(details: &Value, text: &mut String) {
    let mut heading = "\nFILE, POSITION OF SIZE AT EACH OUTPUT THAT IS BEHIND\n";
    for source in details["sources"].as_object().into_iter().flat_map(|sources| sources.values()) {
        for file in source["files_by_lag"].as_array().into_iter().flatten() {
            for (output, at) in file["outputs"].as_object().into_iter().flatten() {
                if number(&at["lag_bytes"]) > 0 {
                    text.push_str(std::mem::take(&mut heading));
                    let path = name(file["path"].as_str().unwrap_or_default());
                    let gone = if file["deleted"] == true { " (deleted, still read)" } else { "" };
                    let _ = writeln!(text, "{path}{gone}  {output}: {} of {}", at["position"], file["size"]);
                }
            }
        }
    }
}

/// The lag of an output at a source: bytes in all, and the age of the oldest.
fn behind(source: &Value, output: &str) -> (u64, u64) {
    let files = source["files_by_lag"].as_array().into_iter().flatten();
    let ages = files.map(|file| number(&file["outputs"][output]["lag_seconds"]));
    (number(&source["outputs"][output]["lag_bytes"]), ages.max().unwrap_or(0))
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_f64().map(|number| number.max(0.0) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn each_source_and_output_has_a_row_and_what_is_behind_is_listed() {
        let counts = json!({"lines": 5, "lines_per_second": 2.0, "bytes_per_second": 20480.0, "lag_bytes": 90, "dead_letters": 1});
        let at = json!({"position": 10, "lag_bytes": 90, "lag_seconds": 3});
        let file = json!({"path": "/var/log/a", "deleted": false, "size": 100, "outputs": {"ldp": at}});
        let details = json!({
            "sources": {"backend": {
                "files": 1, "outputs": {"ldp": counts}, "files_by_lag": [file], "unread_bytes": 90, "lost_bytes": 7,
                "will_be_lost_at": "2026-11-21T11:01:00Z",
            }},
            "outputs": {"ldp": {"state": "degraded", "why": "cannot connect", "last_error": null}},
            "problems": [],
        });
        let text = table(&details);
        assert!(text.contains("backend        ldp               1       90 B     3 s"), "{text}");
        assert!(text.contains("2 l/s 20 KiB/s"), "{text}");
        assert!(text.contains("ldp: degraded: cannot connect\n"), "{text}");
        assert!(text.contains("backend: 90 B wait for an output; from about 2026-11-21T11:01:00Z on"), "{text}");
        assert!(text.contains("backend: 7 B were gone before"), "{text}");
        assert!(text.ends_with("/var/log/a  ldp: 10 of 100\n"), "{text}");
    }
}

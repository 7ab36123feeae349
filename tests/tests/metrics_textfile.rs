//! Text files of other programs, as the real node_exporter takes them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hostwright_tests::engines::NodeExporter;
use hostwright_tests::exposition::Exposition;
use hostwright_tests::http;
use hostwright_tests::port::Port;
use hostwright_tests::process::AgentProcess;
use hostwright_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

/// Folder, file and text; what is wrong with one harms no other.
const FILES: &[(&str, &str, &str)] = &[
    ("a", "plain.prom", "node_tf_plain 1\nnode_tf_plain{x=\"1\"} 2e3\nnode_tf_plain{y=\"2\",x=\"\"} -Inf\n"),
    (
        "a",
        "typed.prom",
        "# HELP node_tf_typed Some \\\\ text\\nof two lines.\n# TYPE node_tf_typed COUNTER\nnode_tf_typed NaN\n",
    ),
    ("a", "blanks.prom", "\n\t# c\n#HELP node_tf_blanks  B \n  node_tf_blanks\t{ x = \"a,b}\\\"\\n\" , } 0x\n"),
    ("a", "blanks2.prom", "\n\t# c\n#HELP node_tf_blanks2  B \n  node_tf_blanks2\t{ x = \"a,b}\\\"\" , } .5e1\n   "),
    ("a", "cut.prom", "node_tf_cut 1"),
    ("a", "stamped.prom", "node_tf_stamped 1 1700000000000\n"),
    ("a", "broken.prom", "node_tf_broken 1\nnode_tf_broken{x=1} 1\n"),
    ("a", "trailing.prom", "node_tf_trailing 1 \n"),
    ("a", "windows.prom", "node_tf_windows 1\r\n"),
    ("a", "late.prom", "node_tf_late 1\n# TYPE node_tf_late gauge\n"),
    ("a", "large.prom", "node_tf_large 1e400\n"),
    ("a", "empty.prom", ""),
    ("a", "ignored.txt", "node_tf_ignored 1\n"),
    ("a", "load.prom", "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1{source=\"file\"} 7\n"),
    (
        "b",
        "histogram.prom",
        "# TYPE node_tf_h histogram\nnode_tf_h_bucket{le=\"1000000\",x=\"1\"} 2\nnode_tf_h_bucket{le=\"0.10\",x=\"1\"} 1\n\
         node_tf_h_sum{x=\"1\"} 1.5\nnode_tf_h_count{x=\"1\"} 3\nnode_tf_h_count{y=\"2\"} 4\n",
    ),
    (
        "b",
        "summary.prom",
        "# HELP node_tf_s S.\n# TYPE node_tf_s summary\nnode_tf_s{quantile=\"0.50\"} 1\nnode_tf_s{quantile=\"1e-7\"} 2\n\
         node_tf_s_sum 9\nnode_tf_s_count 7\nnode_tf_s_bucket 1\n",
    ),
    ("b", "merged.prom", "node_tf_merged{x=\"1\"} 1\n"),
    ("c", "merged.prom", "node_tf_merged{x=\"2\"} 2\nnode_tf_merged{x=\"1\"} 3\n"),
    ("b", "help.prom", "# HELP node_tf_help One.\n# TYPE node_tf_help gauge\nnode_tf_help 1\n"),
    ("c", "help.prom", "# HELP node_tf_help Two.\n# TYPE node_tf_help gauge\nnode_tf_help{x=\"2\"} 1\n"),
    ("b", "no_help.prom", "# HELP node_tf_no_help One.\nnode_tf_no_help 1\n"),
    ("c", "no_help.prom", "node_tf_no_help{x=\"2\"} 1\n"),
    ("b", "type.prom", "# HELP node_tf_type T.\n# TYPE node_tf_type gauge\nnode_tf_type 1\n"),
    ("c", "type.prom", "# HELP node_tf_type T.\n# TYPE node_tf_type counter\nnode_tf_type{x=\"2\"} 1\n"),
    ("b", "part.prom", "# TYPE node_tf_part histogram\nnode_tf_part_count 1\n"),
    ("c", "part.prom", "node_tf_part_count{x=\"2\"} 1\n"),
];

/// Writes the files and waits until both exporters make the same of them.
fn compare(files: &[&(&str, &str, &str)], folder: &Path) -> Result<AgentProcess> {
    for (sub, name, text) in files {
        fs::create_dir_all(folder.join(sub))?;
        fs::write(folder.join(sub).join(name), text)?;
    }
    let pattern = format!("{}/*", folder.display());
    let port = Port::reserve()?;
    let config = format!(
        "metrics: {{listen: \"{}\", collectors: {{default: false, loadavg: true, textfile: {{directory: '{pattern}'}}}}}}\n",
        port.address()
    );
    let agent = AgentProcess::start(&config)?;
    let flag = format!("--collector.textfile.directory={pattern}");
    let original = NodeExporter::start_with(&["loadavg".into(), "textfile".into()], &[flag])?;
    let scrape =
        |address| -> Result<Exposition> { Exposition::parse(&http::get(address, "/metrics")?.success()?.text()) };
    agent.wait_status("the metrics duty runs", SOON, |status| {
        ["ok", "degraded"].map(Some).contains(&status["duties"]["metrics"]["state"].as_str())
    })?;
    eventually("no difference to the original", SOON, || {
        let (before, ours) = (scrape(original.address())?, scrape(port.address())?);
        let after = scrape(original.address())?;
        ensure!(ours.series.contains_key("node_textfile_scrape_error"), "no text files");
        match ours.wrong(&before, &after, original.version())[..] {
            [] => Ok(()),
            ref wrong => bail!("{}", wrong.join("\n")),
        }
    })?;
    Ok(agent)
}

#[test]
fn every_kind_of_file_gives_what_node_exporter_makes_of_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let agent = compare(&FILES.iter().collect::<Vec<_>>(), folder.path())?;
    agent.wait_status("the status names the line", SOON, |status| {
        let why = status["duties"]["metrics"]["why"].as_str().unwrap_or_default();
        why.contains("broken.prom is left out: line 2: expected '\"' after the label's name x")
    })?;
    Ok(())
}

#[test]
fn each_file_by_itself_is_an_error_where_it_is_one_for_node_exporter() -> Result<()> {
    for file in FILES.iter().filter(|(folder, name, _)| *folder == "a" && *name != "ignored.txt") {
        let folder = tempfile::tempdir()?;
        compare(&[file], folder.path()).map_err(|error| error.context(file.1))?;
    }
    Ok(())
}

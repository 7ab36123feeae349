//! Compose documents beside Docker Compose's own answers: the same canonical model, or refused by both.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hostwright_tests::process::binary;
use nix::sys::time::TimeValLike;
use serde::Deserialize;
use serde_json::Value;

/// What a document was given to Docker Compose 2.40.3 with, and what it said.
#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, String>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    /// Its model; nothing where it refused. `FOLDER` stands for the project's folder.
    answer: Option<Value>,
    /// Whether 2.26.1 says something else.
    #[serde(default)]
    newer: bool,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/compose")
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(fixtures())? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        for line in text.lines() {
            cases.push(serde_json::from_str(line).with_context(|| path.display().to_string())?);
        }
    }
    ensure!(cases.len() > 500, "{} cases", cases.len());
    Ok(cases)
}

impl Case {
    /// What a program prints of it.
    fn answer_of(&self, command: impl Fn(&[String]) -> Result<Command>) -> Result<Option<Value>> {
        let root = tempfile::tempdir()?;
        let folder = fs::canonicalize(root.path())?.join("proj");
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            fs::write(path, text)?;
        }
        let mut command = command(&self.args)?;
        command.current_dir(&folder).env_clear().envs([
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/root"),
            ("SET", "value"),
            ("EMPTY", ""),
            ("PORT", "8080"),
            ("TRUE", "true"),
            ("NUM", "3"),
            ("DIR", "/data"),
        ]);
        let output = command.envs(&self.env).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8(output.stdout)?;
        let parent = folder.parent().context("no parent")?.display().to_string();
        let text = text.replace(&folder.display().to_string(), "FOLDER").replace(&parent, "PARENT");
        Ok(Some(serde_json::from_str(&text[text.find('{').context("no model")?..])?))
    }
}

/// The cases that a program answers otherwise.
fn others(cases: &[Case], command: impl Fn(&[String]) -> Result<Command> + Sync) -> Result<Vec<String>> {
    let share = cases.len().div_ceil(std::thread::available_parallelism()?.get());
    let told = std::thread::scope(|scope| {
        let threads: Vec<_> = cases.chunks(share).map(|cases| scope.spawn(|| told(cases, &command))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked"))).collect()
    });
    let told: Result<Vec<Vec<String>>> = told;
    Ok(told?.into_iter().flatten().collect())
}

fn told(cases: &[Case], command: impl Fn(&[String]) -> Result<Command>) -> Result<Vec<String>> {
    let mut others = Vec::new();
    for case in cases {
        let answer = case.answer_of(&command).with_context(|| case.name.clone())?;
        if answer != case.answer {
            let shown = |answer: &Option<Value>| answer.as_ref().map_or("refused".into(), Value::to_string);
            others.push(format!("{}:\n  Compose: {}\n  here: {}", case.name, shown(&case.answer), shown(&answer)));
        }
    }
    Ok(others)
}

#[test]
fn the_canonical_model_of_each_document_is_compose_s() -> Result<()> {
    let agent = binary("hostwright-agent")?;
    let cases = cases()?;
    let others = others(&cases, |files| {
        let mut command = Command::new(&agent);
        command.args(["compose", "config"]).args(files);
        Ok(command)
    })?;
    ensure!(others.is_empty(), "{} of {} differ:\n{}", others.len(), cases.len(), others.join("\n"));
    Ok(())
}

#[test]
fn an_installed_docker_compose_still_gives_the_answers_of_the_fixtures() -> Result<()> {
    let Ok(version) = Command::new("docker-compose").args(["version", "--short"]).output() else {
        println!("docker-compose is not installed; nothing was compared");
        return Ok(());
    };
    if String::from_utf8_lossy(&version.stdout).trim().trim_start_matches('v') != "2.26.1-4" {
        println!("docker-compose is another version than 2.26.1; nothing was compared");
        return Ok(());
    }
    let cases: Vec<Case> = cases()?.into_iter().filter(|case| !case.newer).collect();
    let others = others(&cases, |files| {
        let mut command = Command::new("docker-compose");
        command.args(files.iter().flat_map(|file| ["-f", file])).args(["config", "--format", "json"]);
        Ok(command)
    })?;
    ensure!(others.is_empty(), "{} of {} differ:\n{}", others.len(), cases.len(), others.join("\n"));
    Ok(())
}

/// A document that is made to be expensive, and what stands beside it.
struct Bomb {
    name: &'static str,
    text: String,
    beside: Option<(&'static str, String)>,
}

fn bomb(name: &'static str, text: impl Into<String>) -> Bomb {
    Bomb { name, text: text.into(), beside: None }
}

fn bombs() -> Vec<Bomb> {
    let mut laughs = String::from("x-0: &x0 [a, a, a, a, a, a, a, a, a]\n");
    for level in 1..12 {
        let alias = format!("*x{}", level - 1);
        laughs += &format!("x-{level}: &x{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    let lines = |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let chain = lines(2000, &|n| format!("  s{n}: {{image: x, extends: s{}}}\n", n + 1));
    let circle = lines(5000, &|n| format!("  s{n}: {{image: x, depends_on: [s{}]}}\n", (n + 1) % 5000));
    let blocks = lines(20_000, &|n| format!("x-{n}: |\n  text\n"));
    let ranges = lines(50, &|n| format!("    - \"127.0.0.{n}::1-65535\"\n"));
    let spread = lines(50, &|n| format!("  s{n}: {{image: x, ports: [1-65535]}}\n"));
    let labels = lines(20_000, &|n| format!("l{n}: v, "));
    let children = lines(5000, &|n| format!("  s{n}: {{extends: base}}\n"));
    let doubling = format!("V0=xxxxxxxxxx\n{}", lines(60, &|n| format!("V{}=$V{n}$V{n}\n", n + 1)));
    let chained = format!("V0=x\n{}", lines(60_000, &|n| format!("V{}=$V{n}\n", n + 1)));
    let large = format!("V=\"{}\"\n", "x".repeat(1000 << 10));
    let many = lines(1000, &|n| format!("  s{n}: {{image: x, env_file: .env}}\n"));
    vec![
        bomb("aliases of aliases", laughs + "services: {a: {image: x, command: *x11}}\n"),
        bomb("a node in itself", "services: {a: &a {image: x, labels: *a}}\n"),
        bomb("services that extend each other", "services:\n  a: {extends: b}\n  b: {extends: a}\n"),
        bomb("a long chain of extends", format!("services:\n{chain}")),
        bomb(
            "a large service extended often",
            format!("services:\n  base: {{image: x, labels: {{{labels}}}}}\n{children}"),
        ),
        bomb("a large circle", format!("services:\n{circle}")),
        bomb("a file that includes itself", "include: [compose.yaml]\n"),
        bomb("deep nesting", "[".repeat(100_000)),
        bomb("a key twice", "services:\n  a: {image: x}\n  a: {image: y}\n"),
        bomb("nested defaults", format!("services: {{a: {{image: '{}'}}}}\n", "${A:-".repeat(50_000))),
        bomb("a huge file", format!("services:\n  a: {{image: x, labels: [{}]}}\n", "\"a\", ".repeat(1 << 20))),
        bomb("many blocks of text", format!("{blocks}services: [|\n  a")),
        bomb("many ranges of ports", format!("services:\n  a:\n    image: x\n    ports:\n{ranges}")),
        bomb("ranges of ports of many services", format!("services:\n{spread}")),
        Bomb { beside: Some((".env", doubling)), ..bomb("variables that double", "services: {a: {image: $V60}}\n") },
        Bomb { beside: Some((".env", chained)), ..bomb("many variables of variables", "services: {a: {bad: $V9}}\n") },
        Bomb {
            beside: Some((".env", large.clone())),
            ..bomb(
                "a large variable used often",
                format!("services: {{a: {{image: x, cap_add: [{}]}}}}\n", "$V, ".repeat(9_000)),
            )
        },
        Bomb {
            beside: Some((".env", large)),
            ..bomb("a large env_file of many services", format!("services:\n{many}"))
        },
    ]
}

#[test]
fn expensive_documents_are_refused_with_their_place_quickly_and_in_little_memory() -> Result<()> {
    let agent = binary("hostwright-agent")?;
    let is_release = agent.parent().is_some_and(|folder| folder.ends_with("release"));
    for Bomb { name, text, beside } in bombs() {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("compose.yaml"), text)?;
        if let Some((name, text)) = beside {
            fs::write(folder.path().join(name), text)?;
        }
        let before = cpu_of_children()?;
        let output =
            Command::new(&agent).args(["compose", "config", "compose.yaml"]).current_dir(folder.path()).output()?;
        let (took, memory) = (cpu_of_children()? - before, largest_child()?);
        println!(
            "{name}: {took:?}; {memory} KiB at most so far: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        // Bounds that a busy machine keeps too: a release takes at most a tenth of a second on a quiet one.
        let (time, room) = if is_release { (400, 50 << 10) } else { (8000, 100 << 10) };
        ensure!(took < Duration::from_millis(time), "{name} took {took:?}");
        ensure!(memory < room, "{name}: {memory} KiB");
        let error = String::from_utf8_lossy(&output.stderr);
        let Some((_, place)) = error.split_once("compose.yaml:") else { bail!("{name}: {error}") };
        let mut numbers = place.split(':');
        ensure!(numbers.by_ref().take(2).all(|number| number.parse::<usize>().is_ok()), "{name}: {error}");
        ensure!(output.status.code() == Some(2), "{name}: {:?}", output.status);
    }
    Ok(())
}

#[test]
fn what_is_no_file_is_neither_waited_for_nor_read_without_an_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU)?;
    fs::File::create(folder.path().join("huge"))?.set_len(10 << 30)?;
    for (path, why) in [
        ("pipe", "it is a pipe, and only files are read"),
        ("/dev/zero", "it is no regular file"),
        (".", "it is a folder"),
        ("huge", "MiB"),
    ] {
        for text in [
            format!("include: [{path}]\n"),
            format!("services: {{a: {{image: x, env_file: {path}}}}}\n"),
            format!("services: {{a: {{image: x, label_file: {path}}}}}\n"),
            format!("services: {{a: {{extends: {{file: {path}, service: b}}}}}}\n"),
        ] {
            fs::write(folder.path().join("compose.yaml"), &text)?;
            // The deadline is the tool's own: without one a pipe would be waited for.
            let mut command = Command::new("timeout");
            command.arg("10").arg(binary("hostwright-agent")?).args(["compose", "config", "compose.yaml"]);
            let output = command.current_dir(folder.path()).output()?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(2) && error.contains(why), "{text}: {} {error}", output.status);
            ensure!(error.contains("compose.yaml:1:"), "{text}: {error}");
        }
    }
    ensure!(largest_child()? < 100 << 10, "{} KiB", largest_child()?);
    Ok(())
}

/// CPU time, because others may have the machine meanwhile.
fn cpu_of_children() -> Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?;
    let micros = [usage.user_time(), usage.system_time()].iter().map(TimeValLike::num_microseconds).sum::<i64>();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// What the largest process that this one has waited for took, in KiB.
fn largest_child() -> Result<i64> {
    Ok(nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN)?.max_rss())
}

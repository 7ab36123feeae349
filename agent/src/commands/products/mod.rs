//! `hostwright-agent products`: how products are, and what operators can do about it.

mod table;

use super::agent::{duty, order};
use anyhow::{Context as _, bail};
use hostwright_core::terminal::plain;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::Format;

/// How often what takes long is asked for.
const EVERY: Duration = Duration::from_millis(500);

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Products {
    /// Upload what is at a path, or in it, now: whether or not it is finished, but nothing that somebody writes.
    Push {
        /// A file or folder in a watched folder.
        path: PathBuf,
        /// As a product of this name alone, where several watch the folder.
        #[arg(long)]
        product: Option<String>,
        /// Return once it was asked for, and not when the bucket has confirmed.
        #[arg(long)]
        no_wait: bool,
    },
    /// Ask the buckets now for what `fetch:` names, and wait until the files here are as the buckets have them.
    Fetch,
    /// Compare the manifests under a prefix of a bucket with the objects that they speak of: that each is there, with its
    /// size and checksum, and no other. Exit code 1 if anything does not hold.
    Verify {
        /// What the keys begin with; `''` is all.
        prefix: String,
        /// The bucket's name in the configuration, where there are several.
        #[arg(long)]
        bucket: Option<String>,
        /// Read every object again and compare its content.
        #[arg(long)]
        deep: bool,
    },
}

/// Does it, or shows how each product folder is.
///
/// # Errors
/// No agent answers, or it says no.
pub fn products(what: Option<Products>, socket: &Path, format: Format) -> anyhow::Result<ExitCode> {
    match what {
        None => show(socket, format),
        Some(Products::Push { path, product, no_wait }) => push(socket, (&path, product), !no_wait, format),
        Some(Products::Fetch) => fetch(socket, format),
        Some(Products::Verify { prefix, bucket, deep }) => {
            verify(socket, &json!({"prefix": prefix, "bucket": bucket, "deep": deep}), format)
        }
    }
}

fn show(socket: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let duty = duty(socket, "products")?;
    match format {
        Format::Json => println!("{}", duty.details),
        Format::Table => print!("{}", plain(&table::table(&duty.details))),
    }
    Ok(ExitCode::SUCCESS)
}

fn push(
    socket: &Path,
    (path, product): (&Path, Option<String>),
    wait: bool,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let path = std::path::absolute(path).with_context(|| format!("{} cannot be made absolute", path.display()))?;
    let Some(text) = path.to_str() else {
        bail!("{} is not UTF-8, and no key can be made of it; rename it", path.display());
    };
    let answer = ordered(socket, "push", &json!({"path": text, "product": product}))?;
    let mut pushed: Vec<Value> = answer.as_array().cloned().unwrap_or_default();
    let (mut well, mut failed) = (true, false);
    for one in &mut pushed {
        let mut told = Value::Null;
        while wait && is_open(one) {
            *one = ordered(socket, "state", &json!({"product": one["product"], "path": one["path"]}))?;
            if is_open(one) {
                if one["held"] != told {
                    told = one["held"].clone();
                    eprintln!("{}", plain(&table::held(one)));
                }
                std::thread::sleep(EVERY);
            }
        }
        failed |= one["state"] == "failed";
        well &= !failed && one["state"] != "refused";
        if format == Format::Table {
            println!("{}", plain(&table::pushed(one)));
        }
    }
    if format == Format::Json {
        println!("{}", Value::Array(pushed));
    }
    if failed {
        eprintln!("what failed waits here and is tried again; `hostwright-agent products` shows how it goes");
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An order to the products of the agent.
fn ordered(socket: &Path, verb: &str, arguments: &Value) -> anyhow::Result<Value> {
    order(socket, "products", verb, arguments).map_err(|error| match error.to_string() {
        said if said.contains("there is no duty") => {
            anyhow::anyhow!("this agent has no duty products: its configuration has no section `products:`")
        }
        _ => error,
    })
}

fn is_open(one: &Value) -> bool {
    matches!(one["state"].as_str(), Some("waiting" | "uploading"))
}

fn fetch(socket: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let asked = order(socket, "fetch", "now", &json!({})).map_err(|error| match error.to_string() {
        said if said.contains("there is no duty") => {
            anyhow::anyhow!("nothing is fetched here: no bucket of the configuration has `fetch:`")
        }
        _ => error,
    })?;
    let answer = loop {
        let reached = order(socket, "fetch", "reached", &asked)?;
        if reached["ended"] == true {
            break reached["entries"].clone();
        }
        std::thread::sleep(EVERY);
    };
    let entries = answer.as_object().context("the agent's answer is not of this version")?;
    match format {
        Format::Json => println!("{answer}"),
        Format::Table => print!("{}", plain(&table::fetched(entries))),
    }
    let well = entries.values().all(|entry| entry["failed"].as_array().is_none_or(Vec::is_empty));
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verify(socket: &Path, arguments: &Value, format: Format) -> anyhow::Result<ExitCode> {
    let begun = ordered(socket, "verify", arguments)?;
    let mut told = 0;
    let report = loop {
        let report = ordered(socket, "verified", &json!({"id": begun["id"]}))?;
        if report["ended"] == true {
            break report;
        }
        let files = report["files"].as_u64().unwrap_or_default();
        if std::io::stderr().is_terminal() && files > told {
            eprint!("\r{files} files compared");
            told = files;
        }
        std::thread::sleep(EVERY);
    };
    if told > 0 {
        eprintln!();
    }
    match format {
        Format::Json => println!("{report}"),
        Format::Table => print!("{}", plain(&table::verified(&report))),
    }
    let well = report["wrong"] == 0 && report["failed"].is_null();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

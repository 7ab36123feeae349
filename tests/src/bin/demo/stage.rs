//! The process that holds the servers around the VM: it starts them, has the story told, and stays until it is told
//! to go.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Result;
use nix::sys::signal::{SigSet, Signal};

use crate::story::{self, Scene};
use crate::verdict_file;

/// Starts everything, tells the story, holds until SIGTERM or Ctrl-C, and clears everything away.
pub fn run(folder: &Path) -> Result<ExitCode> {
    // Blocked before any thread begins, so that they wait for `wait` wherever they arrive.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    // Here and not in the story's thread: servers end with the thread that started them.
    let scene = Arc::new(Scene::set(folder)?);
    let (told, path) = (Arc::clone(&scene), folder.to_owned());
    thread::spawn(move || {
        let code = match story::tell(&told) {
            Ok(true) => "0",
            Ok(false) => "1",
            Err(error) => {
                println!(
                    "\nThe demo failed: {error:#}\nIts files are in {}; `make demo DOWN=1` clears it away.",
                    path.display()
                );
                "1"
            }
        };
        if let Err(error) = close(&path, code) {
            eprintln!("cannot end the story: {error:#}");
        }
    });
    signals.wait()?;
    scene.clear();
    Ok(ExitCode::SUCCESS)
}

/// Writes the verdict, then lets go of the output, which is what the showing process waits for.
fn close(folder: &Path, code: &str) -> Result<()> {
    fs::write(verdict_file(folder), code)?;
    let nothing = fs::OpenOptions::new().write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(nothing.as_fd())?;
    Ok(())
}

//! QEMU's programs: started, waited for, and their complaints made readable.

use super::file;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";
/// The tool for disk images.
pub const QEMU_IMG: &str = "qemu-img";
/// The emulator of a TPM.
pub const SWTPM: &str = "swtpm";

/// What is known of an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageInfo {
    /// QEMU's name of its format.
    pub format: String,
    /// The disk's size as a guest sees it.
    pub virtual_size: u64,
}

/// Looks at an image.
///
/// # Errors
/// It is not there or not an image.
pub fn image_info(image: &str) -> anyhow::Result<ImageInfo> {
    let answer = run(QEMU_IMG, &["info".into(), "--output=json".into(), image.to_owned()], Path::new("/"))
        .with_context(|| format!("cannot use the image {image}"))?;
    serde_json::from_slice(&answer).with_context(|| format!("qemu-img says nothing usable about the image {image}"))
}

/// Runs one of QEMU's programs in `folder` until it ends, or has detached itself; gives its standard output.
///
/// # Errors
/// It is not installed, or it failed: then its own words are in the error.
pub fn run(program: &str, arguments: &[String], folder: &Path) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(program, error))?;
    if !output.status.success() {
        // A QEMU that detaches itself says the rest in its log.
        let log = || std::fs::read(folder.join(file::QEMU_LOG)).ok();
        match complaint(&output.stderr).or_else(|| complaint(&log()?)) {
            Some(complaint) => bail!("{program}: {complaint}"),
            None => bail!("{program} failed without a word: {}", output.status),
        }
    }
    Ok(output.stdout)
}

/// The error of a program that could not be started.
pub fn not_started(program: &str, error: io::Error) -> anyhow::Error {
    let package = match program {
        QEMU_IMG => "qemu-utils",
        SWTPM => SWTPM,
        _ => "qemu-system-x86",
    };
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed; on Debian: apt-get install {package}"),
        _ => format!("{program} cannot be started"),
    };
    anyhow::Error::new(error).context(remedy)
}

/// What a program of QEMU's complained about: its first line that is no warning, without the program's name.
pub fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| !line.contains("warning:")).or_else(|| lines().next())?;
    let line = [QEMU, QEMU_IMG, SWTPM].iter().fold(line, |line, name| line.trim_start_matches(&format!("{name}: ")));
    Some(line.trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::{complaint, image_info};

    #[test]
    fn a_complaint_is_the_first_line_that_is_no_warning() {
        let said = b"qemu-system-x86_64: warning: old CPU\nqemu-system-x86_64: error: failed to set MSR 0x10a\nmore\n";
        assert_eq!(complaint(said).as_deref(), Some("failed to set MSR 0x10a"));
        assert_eq!(complaint(b"\n"), None);
    }

    #[test]
    fn an_image_that_is_not_there_is_named() {
        let error = image_info("/nowhere/image.qcow2").expect_err("refused");
        assert!(format!("{error:#}").contains("/nowhere/image.qcow2"), "{error:#}");
    }
}

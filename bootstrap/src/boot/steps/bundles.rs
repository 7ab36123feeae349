use super::command::Run;
use super::fetch::{Buckets, fetch};
use super::{Action, Context, Failure, Outcome, accounts, each, place};
use crate::boot::userdata::boot_section::{Bundle, FetchedFile};
use hostwright_core::atomic_file;
use serde::Serialize;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// A bundle is packages and programs, no images of disks.
const MAX_BUNDLE: u64 = 512 << 20;
const MAX_FILE: u64 = 64 << 20;

/// Files that are fetched, verified, and then put in place as a whole.
#[derive(Serialize)]
pub struct FetchFiles {
    files: Vec<FetchedFile>,
    #[serde(skip)]
    buckets: Buckets,
}

impl FetchFiles {
    pub fn new(files: &[FetchedFile], buckets: &Buckets) -> Self {
        Self { files: files.to_vec(), buckets: buckets.clone() }
    }
}

impl Action for FetchFiles {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        each(
            &self.files,
            |file| file.path.display().to_string(),
            |file| {
                let owner = accounts::owner(context.host, &file.owner)?;
                let content = fetch(context, &file.fetched, &self.buckets, MAX_FILE)?;
                place::File { path: &file.path, content: &content, mode: file.mode, owner }.place(context)
            },
        )?;
        Ok(Outcome::Done)
    }
}

/// An archive that is fetched, verified, unpacked into its folder at once, and perhaps run.
#[derive(Serialize)]
pub struct PlaceBundle {
    bundle: Bundle,
    #[serde(skip)]
    buckets: Buckets,
}

impl PlaceBundle {
    pub fn new(bundle: &Bundle, buckets: &Buckets) -> Self {
        Self { bundle: bundle.clone(), buckets: buckets.clone() }
    }
}

impl Action for PlaceBundle {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let Bundle { name, fetched, to, run } = &self.bundle;
        let step = format!("bundle {name}");
        let archive = context.folder.join(format!("bundle-{name}"));
        let content = fetch(context, fetched, &self.buckets, MAX_BUNDLE)?;
        atomic_file::replace(&archive, &content, 0o600).map_err(|e| Failure::io("keep the bundle", &e))?;
        drop(content);
        let unfinished = beside(to, "hostwright-new");
        clear(context, &unfinished).map_err(|e| Failure::io("unpack the bundle", &e))?;
        let mut command = context.host.command("tar");
        // Names outside of the folder and owners of another host have no place in a bundle.
        command.args(["--extract", "--no-same-owner", "--file"]).arg(context.host.inside(&archive));
        command.arg("--directory").arg(&unfinished);
        Run::new(&step, command).succeed(context)?;
        let placed = replace(context, &unfinished, to);
        placed.and_then(|()| std::fs::remove_file(&archive)).map_err(|e| Failure::io("put the bundle in place", &e))?;
        let Some((program, arguments)) = run.split_first() else { return Ok(Outcome::Done) };
        let inside = to.join(program.trim_start_matches("./"));
        let mut command = context.host.command(if program.starts_with('/') { Path::new(program) } else { &inside });
        command.args(arguments).env("INSTANCE_ID", context.instance_id);
        if context.host.is_this_machine() {
            command.current_dir(to);
        }
        Run::new(&step, command).succeed(context)?;
        Ok(Outcome::Done)
    }
}

fn beside(path: &Path, end: &str) -> std::path::PathBuf {
    path.with_file_name(format!(".{}.{end}", path.file_name().unwrap_or_default().display()))
}

fn clear(context: &Context<'_>, folder: &Path) -> io::Result<()> {
    let here = context.host.path(folder);
    remove(&here)?;
    here.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::DirBuilder::new().mode(0o755).create(&here)
}

fn remove(here: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(here) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was there stays until the new one is whole.
fn replace(context: &Context<'_>, from: &Path, to: &Path) -> io::Result<()> {
    let [from, here, old] =
        [from.to_owned(), to.to_owned(), beside(to, "hostwright-old")].map(|path| context.host.path(path));
    remove(&old)?;
    if here.symlink_metadata().is_ok() {
        std::fs::rename(&here, &old)?;
    }
    std::fs::rename(&from, &here)?;
    atomic_file::sync_parent(&here)?;
    remove(&old)
}

#[cfg(test)]
mod tests {
    use super::super::{Action as _, Context};
    use super::PlaceBundle;
    use crate::boot::host::Host;
    use crate::boot::userdata::boot_section::{Bundle, Fetched};
    use std::process::Command;

    #[test]
    fn a_package_replaces_the_one_before_and_its_program_runs_with_its_output_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = |name: &str| folder.path().join(name);
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let context = Context { host: &host, instance_id: "i-1", folder: folder.path().to_owned(), resumed: false };
        for (version, status) in [("one", 0), ("two", 3)] {
            std::fs::create_dir_all(path("package")).expect("folder");
            let script =
                format!("#!/bin/sh\necho installing {version} \"$1\" $INSTANCE_ID\npwd > ran\nexit {status}\n");
            std::fs::write(path("package/install.sh"), script).expect("written");
            let script =
                "chmod +x package/install.sh; touch package/$0; tar czf worker.tgz -C package .; rm -r package";
            let mut packed = Command::new("sh");
            packed.args(["-c", script, version]).current_dir(folder.path());
            assert!(packed.status().expect("packed").success());
            let from = path("worker.tgz").display().to_string();
            let bundle = Bundle {
                name: "worker".into(),
                fetched: Fetched { from, sha256: None, signed_by: None },
                to: path("opt/worker"),
                run: vec!["./install.sh".into(), "role".into()],
            };
            let outcome = PlaceBundle::new(&bundle, &Default::default()).run(&context);
            assert_eq!(outcome.is_ok(), status == 0, "{outcome:?}");
            assert!(path("opt/worker").join(version).exists());
        }
        assert!(!path("opt/worker/one").exists(), "nothing of the version before");
        let output = std::fs::read_to_string(path("output/bundle-worker.log")).expect("kept");
        assert_eq!(output, "installing one role i-1\ninstalling two role i-1\n");
        let left = path("opt").read_dir().expect("listed").count();
        assert_eq!(left, 1);
    }
}

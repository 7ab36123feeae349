use super::book::Run;
use hostwright_core::atomic_file;
use serde_json::json;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Says that everything in the folder is there; written last.
const NOTE: &str = ".hostwright-job.json";

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// On the host.
    pub folder: PathBuf,
    /// In the container.
    pub inside: PathBuf,
}

impl Outputs {
    /// Makes it, empty, for an attempt; `user` is the service's.
    pub fn make(&self, user: Option<&str>) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(&self.folder)?;
        let mut ids = user.unwrap_or("0").splitn(2, ':').map(str::parse::<u32>);
        match (ids.next(), ids.next()) {
            (Some(Ok(0)), _) => Ok(()),
            (Some(Ok(user)), group) => std::os::unix::fs::chown(&self.folder, Some(user), group.and_then(Result::ok)),
            // Which number a name has, the image alone knows.
            _ => fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o777)),
        }
    }

    /// Says that the run has ended well and that its outputs are whole.
    pub fn finish(&self, id: &str, run: &Run) -> io::Result<()> {
        let note = json!({
            "job_id": id,
            "service": run.service,
            "image": run.image,
            "image_digest": run.digest,
            "started": run.started.map(|time| time.to_string()),
            "ended": run.ended.map(|time| time.to_string()),
            "exit_code": run.exit_code,
        });
        atomic_file::replace(&self.folder.join(NOTE), note.to_string().as_bytes(), 0o644)
    }
}

/// Where the runs of a service leave their outputs.
pub fn of(root: &Path, service: &str, id: &str) -> PathBuf {
    root.join(service).join(id)
}

#[cfg(test)]
mod tests {
    use super::{Outputs, Run};
    use std::fs;

    #[test]
    fn an_attempt_begins_with_an_empty_folder_and_ends_with_a_note() {
        let root = tempfile::tempdir().expect("temporary folder");
        let outputs = Outputs { folder: super::of(root.path(), "fsc", "fsc-1"), inside: "/out".into() };
        outputs.make(Some("0")).expect("made");
        fs::write(outputs.folder.join("half"), "x").expect("written");
        outputs.make(None).expect("made again");
        assert!(!outputs.folder.join("half").exists());
        let mut run = Run::new("fsc", "order".into(), "r.example/fsc:1");
        run.exit_code = Some(0);
        outputs.finish("fsc-1", &run).expect("finished");
        let note = fs::read_to_string(root.path().join("fsc/fsc-1/.hostwright-job.json")).expect("there");
        assert!(note.contains("\"job_id\":\"fsc-1\"") && note.contains("\"exit_code\":0"), "{note}");
    }
}

use super::place::File;
use super::{Action, Context, Failure, Outcome};
use serde::Serialize;
use std::io;

/// The host's time zone.
#[derive(Serialize)]
pub struct SetTimeZone {
    zone: String,
}

impl SetTimeZone {
    pub fn new(zone: &str) -> Self {
        Self { zone: zone.to_owned() }
    }
}

impl Action for SetTimeZone {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let file = format!("/usr/share/zoneinfo/{}", self.zone);
        if !context.host.path(&file).is_file() {
            return Err(Failure::new(
                format!("the image has no time zone {}", self.zone),
                "install tzdata into the image, or use a name that `timedatectl list-timezones` prints",
            ));
        }
        let localtime = context.host.path("/etc/localtime");
        let set = || {
            let unfinished = localtime.with_extension("hostwright");
            match std::fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(format!("..{file}"), &unfinished)?;
            std::fs::rename(&unfinished, &localtime)
        };
        set().map_err(|e| Failure::io("set the time zone", &e))?;
        File::new("/etc/timezone", format!("{}\n", self.zone).as_bytes(), 0o644).place(context)?;
        Ok(Outcome::Done)
    }
}

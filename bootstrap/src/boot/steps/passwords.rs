use super::command::Run;
use super::{Action, Context, Failure, Outcome, accounts, each};
use crate::boot::userdata::passwords::Password;
use hostwright_core::state::StateFile;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

/// Without those that look alike; cloud-init's own.
const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789";
const LENGTH: usize = 20;

/// New passwords of users.
#[derive(Serialize)]
pub struct SetPasswords {
    users: Vec<(String, Password)>,
    expire: bool,
}

impl SetPasswords {
    pub fn new(users: Vec<(String, Password)>, expire: bool) -> Self {
        Self { users, expire }
    }
}

impl Action for SetPasswords {
    fn run(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let made_up = self.make_up(context).map_err(|e| Failure::io("make up passwords", &e))?;
        let outcome = each(
            &self.users,
            |(name, _)| name.clone(),
            |(name, password)| {
                if accounts::user(context.host, name)?.is_none() {
                    return Err(Failure::new("there is no such user", "name the user under users: too"));
                }
                match password {
                    Password::Clear(text) => set(context, name, text, false)?,
                    Password::Hash(text) => set(context, name, text, true)?,
                    Password::Random => set(context, name, made_up.get(name).map_or("", String::as_str), false)?,
                }
                if self.expire { expire(context, name) } else { Ok(()) }
            },
        );
        tell(context, &made_up);
        outcome.map(|()| Outcome::Done)
    }
}

/// Sets a user's password, which goes by standard input: arguments can be read by everyone.
pub fn set(context: &Context<'_>, user: &str, password: &str, is_hash: bool) -> Result<(), Failure> {
    let mut command = context.host.command("chpasswd");
    if is_hash {
        command.arg("--encrypted");
    }
    Run { input: Some(line(user, password).into_bytes()), ..Run::new("passwords", command) }.succeed(context)
}

/// For chpasswd, which changes nothing where a line is empty: a block of text in YAML ends with a line break.
fn line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", password.trim_end_matches(['\r', '\n']))
}

fn expire(context: &Context<'_>, user: &str) -> Result<(), Failure> {
    let mut command = context.host.command("passwd");
    command.args(["--expire", user]);
    Run::new("passwords", command).succeed(context)
}

impl SetPasswords {
    /// The same again when the step was cut off: they may have been told already.
    fn make_up(&self, context: &Context<'_>) -> io::Result<BTreeMap<String, String>> {
        let wanted = self.users.iter().filter(|(_, password)| *password == Password::Random);
        let names: Vec<_> = wanted.map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut state = StateFile::new(context.folder.join("passwords.json"), 1);
        let mut made: BTreeMap<String, String> = state.load().ok().flatten().unwrap_or_default();
        for name in names {
            if let Entry::Vacant(place) = made.entry(name) {
                place.insert(random()?);
            }
        }
        state.store(&made).map_err(io::Error::other)?;
        Ok(made)
    }
}

fn random() -> io::Result<String> {
    let mut password = String::new();
    while password.len() < LENGTH {
        let mut byte = [0];
        getrandom::fill(&mut byte).map_err(io::Error::other)?;
        // What is left over would come up more often than the rest.
        if usize::from(byte[0]) < LETTERS.len() * 4 {
            password.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Ok(password)
}

/// To the console alone, never to the journal, which others may read; a file of root's keeps them too.
fn tell(context: &Context<'_>, made_up: &BTreeMap<String, String>) {
    if made_up.is_empty() {
        return;
    }
    let mut text = "Set the following 'random' passwords\n".to_owned();
    made_up.iter().for_each(|(name, password)| text.push_str(&format!("{name}:{password}\n")));
    let kept = context.folder.join("passwords");
    let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&kept);
    let told = file.and_then(|mut file| file.write_all(text.as_bytes()));
    let console = context.host.path("/dev/console");
    let shown = File::options().append(true).open(console).and_then(|mut file| file.write_all(text.as_bytes()));
    for error in [told.err(), shown.err()].into_iter().flatten() {
        log::warn!("the passwords that were made up are not shown or kept: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, LETTERS, line, random};

    #[test]
    fn a_password_that_is_a_block_of_text_is_one_line() {
        assert_eq!([line("a", "x y\n"), line("a", " x:\r\n\n"), line("a", "z")], ["a:x y\n", "a: x:\n", "a:z\n"]);
    }

    #[test]
    fn passwords_that_are_made_up_differ_and_are_easy_to_read() {
        let all: std::collections::BTreeSet<_> = (0..50).map(|_| random().expect("made up")).collect();
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|text| text.len() == LENGTH && text.bytes().all(|byte| LETTERS.contains(&byte))));
    }
}

//! User-data → typed sections and findings.
//!
//! In: the bytes that the datasource has. Out: a [`UserData`]: what is valid of them, and what is wrong, with line and
//! column. A section or item with a wrong value is left out and told; a key that nobody knows is told. Nothing is
//! touched here and nothing survives a restart. Further formats (MIME, includes, templates) are arms of [`read`];
//! further keys of cloud-config are a field of [`CloudConfig`] and a file of their own.

/// `hostwright:`
pub mod agent;
/// The keys of `#cloud-config`.
pub mod cloud_config;
/// `runcmd:` and `bootcmd:`
pub mod commands;
/// `write_files:`
pub mod files;
/// What is wrong or odd, and how serious that is.
pub mod findings;
/// `groups:`
pub mod groups;
/// `hostname:` and its kin
pub mod names;
/// `packages:` and its kin
pub mod packages;
/// Secrets in clear.
mod secrets;
/// `ssh_authorized_keys:` and its kin
pub mod ssh;
/// The bytes: compression and encoding undone, the format found.
mod unpack;
/// `users:`
pub mod users;
/// What single values are made of.
mod values;

pub use cloud_config::CloudConfig;
pub use findings::Findings;

use hostwright_core::yaml::{self, Duplicates, Place};
use unpack::Format;

/// What an operator wants of this host.
#[derive(Default)]
pub struct UserData {
    /// The valid part of a `#cloud-config`.
    pub config: CloudConfig,
    /// A `#!` script.
    pub script: Option<String>,
    /// What is wrong or odd.
    pub findings: Findings,
}

const START: Place = Place { line: 1, column: 1 };

/// Reads a user-data of any format.
pub fn read(content: &[u8]) -> UserData {
    match unpack::unpack(content) {
        Ok(Format::Nothing) => UserData::default(),
        Ok(Format::Script(script)) => UserData { script: Some(script), ..UserData::default() },
        Ok(Format::CloudConfig(text)) => read_cloud_config(&text),
        Err(message) => {
            let mut user_data = UserData::default();
            user_data.findings.error(START, "", message);
            user_data
        }
    }
}

fn read_cloud_config(text: &str) -> UserData {
    let mut findings = Findings::default();
    let config = match yaml::load(text, Duplicates::LastWins) {
        Ok(document) => {
            for warning in document.warnings {
                findings.warning(warning.place, "", warning.message);
            }
            secrets::find(&document.root, &mut findings);
            CloudConfig::read(&document.root, &mut findings)
        }
        Err(error) => {
            findings.error(error.place, "", error.message);
            CloudConfig::default()
        }
    };
    findings.sort();
    UserData { config, script: None, findings }
}

#[cfg(test)]
mod tests {
    use super::read;

    const WHOLE: &[u8] = b"#cloud-config\nhostname: a\ngroups: [g, {h: [u]}]\nusers: [default, {name: u, passwd: $6$x, sudo: ['ALL=(ALL) ALL']}]\nwrite_files:\n- {path: /a, content: aGk=, encoding: b64, permissions: 0644}\npackages: [a, [b, 1]]\nruncmd: [a, [b, c]]\nhostwright: {agent: {from: /x}, metrics: {listen: '0.0.0.0:1'}}\n";

    #[test]
    fn whatever_stands_in_it_is_told_and_never_a_panic() {
        assert!(read(WHOLE).findings.errors.is_empty(), "{:?}", read(WHOLE).findings.errors);
        for at in 0..WHOLE.len() {
            read(&WHOLE[..at]);
            for byte in *b"\0\n :-[]{}'\"&*!|>%@\xff7a" {
                let mut changed = WHOLE.to_vec();
                changed[at] = byte;
                read(&changed);
            }
        }
    }
}

//! What OpenStack's Heat puts around a server's user-data unless its template says `user_data_format: RAW`.
//!
//! In: a part of a MIME message. Out: what becomes of it here, where it is one of Heat's: its data become files for
//! heat-cfntools, the template's script is run, and the Python that does both in cloud-init is not needed.

use super::combine::file_name;
use super::files::WriteFile;
use super::parts::{Kind, Part, When};
use std::path::Path;

/// The type of its data.
const DATA: &str = "text/x-cfninitdata";
/// Where heat-cfntools look for them.
const FOLDER: &str = "/var/lib/heat-cfntools";
/// Of its data the one that the template's author wrote.
const USER_DATA: &str = "cfn-userdata";

/// What becomes of one of Heat's parts.
pub enum Heat {
    /// Data for heat-cfntools.
    File(WriteFile),
    /// The template's script, which is a file of theirs too.
    Script(WriteFile),
    /// What the author wrote is no script: Heat's own program passes it over.
    NoScript(WriteFile),
    /// A program whose work is done here.
    Needless,
}

impl Heat {
    /// Whether a part is one of Heat's.
    pub fn of(part: &Part) -> Option<Self> {
        let names = |words: [&str; 2]| words.iter().all(|word| part.text.contains(word));
        match &part.kind {
            Kind::PartHandler => names([DATA, FOLDER]).then_some(Self::Needless),
            Kind::Script(When::WithCommands) if part.name == "loguserdata.py" => {
                names([FOLDER, USER_DATA]).then_some(Self::Needless)
            }
            Kind::Unknown(kind) if kind == DATA => {
                let name = file_name(&part.name);
                let is_user_data = name == USER_DATA;
                let path = Path::new(FOLDER).join(name);
                let content = part.text.clone().into_bytes();
                let owner = "root:root".to_owned();
                let file = WriteFile { path, content, owner, mode: 0o600, ..WriteFile::default() };
                Some(match (is_user_data, part.text.starts_with("#!")) {
                    (false, _) => Self::File(file),
                    (true, true) => Self::Script(file),
                    (true, false) => Self::NoScript(file),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{UserData, read};

    fn of_heat(user_data: &str) -> UserData {
        let handler = "import os\ndef list_types():\n    return([\"text/x-cfninitdata\"])\ndef handle_part(data, ctype, filename, payload):\n    open('/var/lib/heat-cfntools/%s' % filename, 'w')\n";
        let logger = "#!/usr/bin/env python3\nVAR_PATH = '/var/lib/heat-cfntools'\npath = os.path.join(VAR_PATH, 'cfn-userdata')\n";
        let parts = [
            ("text/cloud-config", "cloud-config", "user: stack\n"),
            ("text/cloud-boothook", "boothook.sh", "#!/usr/bin/bash\nexit 0\n"),
            ("text/part-handler", "part-handler.py", handler),
            ("text/x-cfninitdata", "cfn-userdata", user_data),
            ("text/x-shellscript", "loguserdata.py", logger),
            ("text/x-cfninitdata", "cfn-init-data", "{\"a\": 1}"),
        ];
        let part = |(kind, name, body): &(&str, &str, &str)| {
            format!(
                "--B\nContent-Type: {kind}; charset=\"us-ascii\"\nContent-Disposition: attachment; filename=\"{name}\"\n\n{body}\n"
            )
        };
        let body: String = parts.iter().map(part).collect();
        let head = "Content-Type: multipart/mixed; boundary=\"B\"\nMIME-Version: 1.0\n\n";
        read(format!("{head}{body}--B--\n").as_bytes())
    }

    #[test]
    fn a_stack_of_heat_runs_its_script_and_finds_its_data() {
        let user_data = of_heat("#!/bin/sh\necho stack\n");
        let findings = &user_data.findings;
        assert!(findings.errors.is_empty() && findings.warnings.is_empty(), "{findings:?}");
        let scripts: Vec<_> = user_data.scripts.iter().map(|script| (&*script.name, &*script.text)).collect();
        assert_eq!(scripts, [("cfn-userdata", "#!/bin/sh\necho stack\n")]);
        let files: Vec<_> = user_data.config.files.iter().map(|file| (file.path.to_str(), file.mode)).collect();
        let expected = ["cfn-userdata", "cfn-init-data"].map(|name| format!("/var/lib/heat-cfntools/{name}"));
        assert_eq!(files, expected.each_ref().map(|path| (Some(path.as_str()), 0o600)));
        assert_eq!(user_data.config.files[1].content, b"{\"a\": 1}");
    }

    #[test]
    fn what_is_no_script_is_told_and_other_python_is_refused() {
        let user_data = of_heat("#cloud-config\npackages: [a]\n");
        assert!(user_data.scripts.is_empty());
        assert!(user_data.findings.warnings[0].message.contains("user_data_format: RAW"), "{:?}", user_data.findings);
        let other = read(b"#part-handler\ndef list_types(): return ['text/x-cfninitdata']\n");
        assert!(other.findings.errors[0].message.contains("#part-handler is Python"));
    }
}

use hostwright_core::config::section::{Problem, Problems, Section};
use hostwright_core::yaml::{Node, Place};

/// Where a file begins.
pub const START: Place = Place { line: 1, column: 1 };

/// How the message of a key begins that cloud-init carries out and we do not; the reason follows.
pub const NOT_DONE: &str = "is not done here: ";
/// How the message of a value begins that cloud-init's schema refuses, but that is taken as cloud-init takes it.
pub const TOLERATED: &str = "is not as the schema wants it: ";

/// What is wrong or odd in a user-data.
#[derive(Debug, Default)]
pub struct Findings {
    /// Wrong values: what they stand in is left out.
    pub errors: Vec<Problem>,
    /// Keys that are unknown or not carried out, and values that are taken though the schema refuses them: errors for
    /// `check`, warnings at boot.
    pub ignored: Vec<Problem>,
    /// Odd, but taken.
    pub warnings: Vec<Problem>,
    /// Secrets that seem to stand in clear: told before a boot, when something can still be done about them.
    pub secrets: Vec<Problem>,
}

impl Findings {
    /// Notes something wrong.
    pub fn error(&mut self, place: Place, path: &str, message: String) {
        self.errors.push(Problem { place, path: path.to_owned(), message });
    }

    /// Notes a key that is not carried out, and why.
    pub fn not_done(&mut self, place: Place, path: &str, why: &str) {
        self.ignored.push(Problem { place, path: path.to_owned(), message: format!("{NOT_DONE}{why}") });
    }

    /// Notes a value that is taken though cloud-init's schema refuses it; `message` says how.
    pub fn tolerated(&mut self, place: Place, path: &str, message: &str) {
        self.ignored.push(Problem { place, path: path.to_owned(), message: format!("{TOLERATED}{message}") });
    }

    /// Notes something odd.
    pub fn warning(&mut self, place: Place, path: &str, message: String) {
        self.warnings.push(Problem { place, path: path.to_owned(), message });
    }

    /// Notes a secret in clear.
    pub fn secret(&mut self, place: Place, path: &str, message: String) {
        self.secrets.push(Problem { place, path: path.to_owned(), message });
    }

    /// Reads a mapping that counts as a whole: with a wrong value in it, it is left out.
    pub fn whole<'n, T>(
        &mut self,
        node: &'n Node,
        path: &str,
        read: impl for<'a> FnOnce(Section<'a>, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        let problems = Problems::default();
        let value = Section::open(node, path, &problems).and_then(|section| read(section, self));
        if self.take(problems) { value } else { None }
    }

    /// Sorts problems by how serious they are; whether there was none that makes its mapping useless.
    pub fn take(&mut self, problems: Problems) -> bool {
        let (ignored, errors): (Vec<_>, Vec<_>) = problems.into_sorted().into_iter().partition(|problem| {
            problem.is_unknown_key() || problem.message.starts_with(NOT_DONE) || problem.message.starts_with(TOLERATED)
        });
        let usable = errors.is_empty();
        self.errors.extend(errors);
        self.ignored.extend(ignored);
        usable
    }

    /// Takes over another one's.
    pub fn append(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.ignored.extend(other.ignored);
        self.warnings.extend(other.warnings);
        self.secrets.extend(other.secrets);
    }

    /// Every problem.
    pub fn each(&mut self, change: impl Fn(&mut Problem)) {
        let all = [&mut self.errors, &mut self.ignored, &mut self.warnings, &mut self.secrets];
        all.into_iter().flatten().for_each(change);
    }

    /// Into the order of the file.
    pub fn sort(&mut self) {
        for problems in [&mut self.errors, &mut self.ignored, &mut self.warnings, &mut self.secrets] {
            problems.sort_by_key(|problem| problem.place);
        }
    }
}

/// What templates leave of a list without items: then there is nothing that could be left out.
pub fn says_nothing(node: &Node) -> bool {
    node.is_null() || node.text() == Some("") || node.sequence().is_some_and(<[Node]>::is_empty)
}

/// Refuses a key of a section that is not carried out, if something is said there.
pub fn refuse(section: &mut Section<'_>, key: &'static str, why: &str) {
    if section.node(key).is_some_and(says_nothing) {
        return;
    }
    section.refuse(key, &format!("{NOT_DONE}{why}"));
}

/// The keys that lead to a value; items of lists count as `[]`.
#[derive(Clone, Debug, Default)]
pub struct Path(Vec<String>);

impl Path {
    /// Of keys joined by dots.
    pub fn of(text: &str) -> Self {
        Self(text.split('.').map(str::to_owned).collect())
    }

    pub fn push(&mut self, key: &str) {
        self.0.push(key.to_owned());
    }

    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// Does something one level further down.
    pub fn within<T>(&mut self, key: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        self.push(key);
        let result = act(self);
        self.pop();
        result
    }

    /// Whether each key is the pattern's, where `*` stands for any.
    pub fn matches<S: AsRef<str>>(&self, pattern: &[S]) -> bool {
        let fits = |(key, wanted): (&String, &S)| wanted.as_ref() == "*" || wanted.as_ref() == key;
        self.0.len() == pattern.len() && self.0.iter().zip(pattern).rev().all(fits)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut first = true;
        for key in self.0.iter().filter(|key| *key != "[]") {
            f.write_str(if first { "" } else { "." })?;
            f.write_str(key)?;
            first = false;
        }
        Ok(())
    }
}

/// What is to be done at which paths.
#[derive(Debug)]
pub struct Table<T>(Vec<(Vec<&'static str>, T)>);

impl<T: Copy> Table<T> {
    /// Of patterns such as `services.*.ports`.
    pub fn new(rows: &[(&'static str, T)]) -> Self {
        Self(rows.iter().map(|(pattern, entry)| (pattern.split('.').collect(), *entry)).collect())
    }

    pub fn find(&self, path: &Path) -> Option<T> {
        self.0.iter().find(|(pattern, _)| path.matches(pattern)).map(|(_, entry)| *entry)
    }
}

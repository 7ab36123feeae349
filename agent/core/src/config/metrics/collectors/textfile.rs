use crate::config::section::Section;
use crate::config::values::AbsolutePath;
use std::path::PathBuf;

/// Options of the collector `textfile`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Textfile {
    /// Folders whose `*.prom` are read; `*`, `?` and `[a-z]` stand for parts of names.
    pub directories: Vec<PathBuf>,
}

impl Textfile {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        if let Some(paths) = section.list::<AbsolutePath>("directory") {
            self.directories = paths.into_iter().map(|path| path.0).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn folders_are_one_or_several_and_patterns_are_taken() {
        let read = |text: &str| {
            let text = format!("metrics: {{collectors: {{textfile: {text}}}}}");
            let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
            let directories = config.metrics.expect("present").collectors.options.textfile.directories;
            Ok::<_, String>(directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
        };
        assert_eq!(read("{directory: '/srv/*/metrics'}"), Ok(vec!["/srv/*/metrics".to_owned()]));
        assert_eq!(read("{directory: [/a, /b]}").map(|all| all.len()), Ok(2));
        assert_eq!(read("true"), Ok(vec![]));
        assert!(read("{directory: metrics}").is_err_and(|error| error.contains("textfile.directory: expected")));
    }
}

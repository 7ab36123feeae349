use crate::config::section::Section;
use crate::config::values::AbsolutePath;
use std::path::PathBuf;

/// Options of the collector `pcidevice`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pcidevice {
    /// Whether makers, devices and classes are told by name too.
    pub names: bool,
    /// The list of names, in place of the distribution's.
    pub idsfile: Option<PathBuf>,
}

impl Pcidevice {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.names = section.or("names", self.names);
        self.idsfile = section.optional::<AbsolutePath>("idsfile").map(|path| path.0);
        if self.idsfile.is_some() && !self.names {
            section.problem_with("idsfile", "the list is read for names: true alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn a_list_of_names_is_for_those_who_want_names() {
        let read = |text: &str| {
            let text = format!("metrics: {{collectors: {{pcidevice: {text}}}}}");
            let config = Config::parse(&text, "agent.yaml").map_err(|error| error.to_string())?;
            Ok::<_, String>(config.metrics.expect("present").collectors.options.pcidevice)
        };
        let named = read("{names: true, idsfile: /usr/share/misc/pci.ids}").expect("valid");
        assert_eq!((named.names, named.idsfile.as_deref()), (true, Some(Path::new("/usr/share/misc/pci.ids"))));
        assert!(read("{idsfile: /usr/share/misc/pci.ids}").is_err_and(|error| error.contains("names: true")));
        assert!(!read("true").expect("valid").names);
    }
}

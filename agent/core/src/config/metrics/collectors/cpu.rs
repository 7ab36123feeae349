use crate::config::metrics::filter::NamePattern;
use crate::config::section::Section;

/// Options of the collector `cpu`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    /// Whether time in guests is told.
    pub guest: bool,
    /// Whether each CPU's model is told.
    pub info: bool,
    /// Whether their frequency is told with it, which goes by the collector `cpufreq`.
    pub frequency: bool,
    /// Which of the CPUs' flags are told.
    pub flags_include: Option<NamePattern>,
    /// Which of the CPUs' bugs are told.
    pub bugs_include: Option<NamePattern>,
}

impl Default for Cpu {
    fn default() -> Self {
        Self { guest: true, info: false, frequency: true, flags_include: None, bugs_include: None }
    }
}

impl Cpu {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.guest = section.or("guest", self.guest);
        self.flags_include = section.optional("info_flags_include");
        self.bugs_include = section.optional("info_bugs_include");
        // As in the original, a filter of what it tells turns the information on.
        self.info = section.or("info", self.info) || self.flags_include.is_some() || self.bugs_include.is_some();
    }
}

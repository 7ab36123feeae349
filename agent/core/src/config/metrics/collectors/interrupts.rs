use crate::config::metrics::filter::Filter;
use crate::config::section::Section;

/// Options of the collector `interrupts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Interrupts {
    /// Which interrupts are taken, by `name;info;devices`.
    pub names: Filter,
    /// Whether those that never happened are told.
    pub include_zeros: bool,
}

impl Default for Interrupts {
    fn default() -> Self {
        Self { names: Filter::default(), include_zeros: true }
    }
}

impl Interrupts {
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        self.names.read(section, "name_include", "name_exclude");
        self.include_zeros = section.or("include_zeros", self.include_zeros);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn interrupts_can_be_left_out_by_name_and_zeros_too() {
        let text = "metrics: {collectors: {interrupts: {name_exclude: '^LOC;', include_zeros: false}}}";
        let options = Config::parse(text, "agent.yaml").expect("valid").metrics.expect("present").collectors.options;
        assert!(!options.interrupts.include_zeros && !options.interrupts.names.admits(b"LOC;Local timer;"));
    }
}

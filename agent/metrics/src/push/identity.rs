use super::exposition::Sample;
use hostwright_core::config::metrics::remote_write::RemoteWrite;
use std::borrow::Cow;

/// What tells this host's series from others', which a scrape would have put on them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub job: String,
    pub instance: String,
    /// On series that have none of that name.
    pub external: Vec<(String, String)>,
}

impl Identity {
    pub fn new(settings: &RemoteWrite, host_name: &str) -> Self {
        Self {
            job: settings.job.clone(),
            instance: settings.instance.clone().unwrap_or_else(|| host_name.to_owned()),
            external: settings.external_labels.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// A series' labels as a Prometheus would send them: each name once, sorted, none empty.
    pub fn labels<'a>(&'a self, sample: &Sample<'a>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let mut labels: Vec<(Cow<'a, str>, Cow<'a, str>)> = vec![
            ("__name__".into(), sample.name.into()),
            ("instance".into(), self.instance.as_str().into()),
            ("job".into(), self.job.as_str().into()),
        ];
        labels.extend(sample.labels().map(|(name, value)| match name {
            // As a scrape without honor_labels does it.
            "instance" => ("exported_instance".into(), value),
            "job" => ("exported_job".into(), value),
            name => (name.into(), value),
        }));
        for (name, value) in &self.external {
            if !labels.iter().any(|(known, _)| known == name) {
                labels.push((name.as_str().into(), value.as_str().into()));
            }
        }
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort_by(|(a, _), (b, _)| a.cmp(b));
        labels.dedup_by(|(a, _), (b, _)| a == b);
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::Identity;
    use crate::push::exposition::Exposition;

    #[test]
    fn labels_are_sorted_each_name_once_and_the_series_own_goes_before_external_ones() {
        let external = [("zone", "b"), ("x", "theirs"), ("a", "first")];
        let external = external.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let identity = Identity { job: "node".into(), instance: "h".into(), external };
        let text = "m{x=\"own\",job=\"inner\",empty=\"\",B=\"upper\"} 1\n";
        let labels = identity.labels(&Exposition::read(text).samples[0]);
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            labels,
            ["B=upper", "__name__=m", "a=first", "exported_job=inner", "instance=h", "job=node", "x=own", "zone=b"]
        );
    }
}

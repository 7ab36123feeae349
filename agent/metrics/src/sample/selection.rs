use hostwright_core::config::metrics::collectors::{Collectors, TABLE};

/// What the metrics of containers are called beside the collectors.
pub const CONTAINERS: &str = "containers";

/// Which collectors a scrape is of: `?collect[]=` and `?exclude[]=`, as node_exporter takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Option<Vec<String>>);

impl Selection {
    /// Reads the part of a URL after `?`.
    ///
    /// # Errors
    /// The original's sentence for a client that asks for what cannot be given.
    pub fn of_query(query: &str, collectors: &Collectors) -> Result<Self, String> {
        let values = |wanted: &str| {
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let values = pairs.filter(|(key, _)| decode(key) == wanted.as_bytes()).map(|(_, value)| decode(value));
            values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect::<Vec<_>>()
        };
        match (values("collect[]"), values("exclude[]")) {
            (collect, exclude) if collect.is_empty() && exclude.is_empty() => Ok(Self(None)),
            (collect, exclude) if exclude.is_empty() => {
                collect.iter().try_for_each(|name| check(name, collectors))?;
                Ok(Self(Some(collect)))
            }
            (collect, exclude) if collect.is_empty() => {
                let on = TABLE.iter().map(|known| known.name).filter(|name| collectors.is_on(name));
                let on = on.chain([CONTAINERS]);
                Ok(Self(Some(on.filter(|name| !exclude.iter().any(|no| no == name)).map(str::to_owned).collect())))
            }
            _ => Err("Combined collect and exclude queries are not allowed.".to_owned()),
        }
    }

    /// Whether the collector is part of it.
    pub fn takes(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|taken| taken == name))
    }
}

fn check(name: &str, collectors: &Collectors) -> Result<(), String> {
    let why = if collectors.is_on(name) || name == CONTAINERS {
        return Ok(());
    } else if TABLE.iter().any(|known| known.name == name) {
        "disabled"
    } else {
        "missing"
    };
    Err(format!("Couldn't create filtered metrics handler: couldn't create collector: {why} collector: {name}"))
}

/// `%5B` → `[`, `+` → a space (WHATWG URL, application/x-www-form-urlencoded).
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Collectors, Selection};

    fn of(query: &str) -> Result<Selection, String> {
        Selection::of_query(query, &Collectors::default())
    }

    #[test]
    fn what_is_asked_for_is_taken_and_nothing_else() {
        assert_eq!(of(""), Ok(Selection::default()));
        assert_eq!(of("x=1&collect=cpu"), Ok(Selection::default()), "other keys are nobody's");
        let some = of("collect[]=cpu&collect%5B%5D=load%61vg").expect("known");
        assert!(some.takes("cpu") && some.takes("loadavg") && !some.takes("meminfo"));
        let rest = of("exclude[]=cpu&exclude[]=nope").expect("whatever is excluded");
        assert!(!rest.takes("cpu") && rest.takes("loadavg"));
    }

    #[test]
    fn what_cannot_be_given_is_refused_in_the_originals_words() {
        let refused = |query| of(query).expect_err("refused");
        let prefix = "Couldn't create filtered metrics handler: couldn't create collector: ";
        assert_eq!(refused("collect[]=nope"), format!("{prefix}missing collector: nope"));
        assert_eq!(refused("collect[]="), format!("{prefix}missing collector: "));
        assert_eq!(refused("collect[]=cpu&collect[]=systemd"), format!("{prefix}disabled collector: systemd"));
        assert_eq!(refused("collect[]=%ff%"), format!("{prefix}missing collector: \u{fffd}%"));
        let combined = refused("collect[]=cpu&exclude[]=loadavg");
        assert_eq!(combined, "Combined collect and exclude queries are not allowed.");
    }
}

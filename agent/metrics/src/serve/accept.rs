use super::super::compress::Coding;
use super::super::encode::Format;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_1: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const OPEN_0: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=0.0.1; charset=utf-8");

/// What is answered to a client that says in `Accept` and `Accept-Encoding` what it takes (RFC 9110, 12.5).
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    pub format: Format,
    pub content_type: HeaderValue,
    pub coding: Coding,
    pub content_encoding: Option<HeaderValue>,
}

impl Accepted {
    /// Where nothing fits, the text format is what every Prometheus reads.
    pub fn of(headers: &HeaderMap) -> Self {
        let (format, content_type) = format(headers);
        let (coding, content_encoding) = coding(headers);
        Self { format, content_type, coding, content_encoding }
    }
}

fn format(headers: &HeaderMap) -> (Format, HeaderValue) {
    let fits = |item: &Item<'_>| {
        let (is_open, is_text) = (item.is("application/openmetrics-text"), item.is("text/plain"));
        match item.parameter("version") {
            Some("1.0.0") if is_open => Some((Format::OpenMetrics, OPEN_1)),
            None | Some("0.0.1") if is_open => Some((Format::OpenMetrics, OPEN_0)),
            None | Some("0.0.4") if is_text => Some((Format::Text, TEXT)),
            _ if item.is("text/*") || item.is("*/*") => Some((Format::Text, TEXT)),
            _ => None,
        }
    };
    let mut best: Option<(f32, (Format, HeaderValue))> = None;
    for item in items(headers, &ACCEPT) {
        // The first one of those with the same weight.
        if let Some(fit) = fits(&item)
            && item.weight > best.as_ref().map_or(0.0, |(weight, _)| *weight)
        {
            best = Some((item.weight, fit));
        }
    }
    best.map_or((Format::Text, TEXT), |(_, fit)| fit)
}

fn coding(headers: &HeaderMap) -> (Coding, Option<HeaderValue>) {
    let weight = |name: &str| items(headers, &ACCEPT_ENCODING).find(|item| item.is(name)).map(|item| item.weight);
    // Of the same weight, what costs less comes first.
    let mut best = (weight("identity").unwrap_or(0.0), (Coding::Identity, None));
    for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Zstd, "zstd")] {
        let weight = weight(name).or_else(|| weight("*")).unwrap_or(0.0);
        if weight > 0.0 && weight >= best.0 {
            best = (weight, (coding, Some(HeaderValue::from_static(name))));
        }
    }
    best.1
}

/// One of the things in a list of them.
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
    weight: f32,
}

impl<'a> Item<'a> {
    /// Names are compared without regard to case.
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        parameter(self.parameters, wanted)
    }
}

fn items<'a>(headers: &'a HeaderMap, header: &HeaderName) -> impl Iterator<Item = Item<'a>> {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        // One that is no number counts as none, as in the original.
        let weight = parameter(parameters, "q").and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
        Item { name: name.trim(), parameters, weight }
    })
}

fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::{ACCEPT, ACCEPT_ENCODING, Accepted, Coding, HeaderMap, HeaderValue};

    fn accepted(accept: Option<&str>, encoding: Option<&str>) -> Accepted {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ACCEPT, accept), (ACCEPT_ENCODING, encoding)] {
            value.map(|value| headers.append(name, HeaderValue::from_str(value).expect("ASCII")));
        }
        Accepted::of(&headers)
    }

    fn kind(accept: &str) -> String {
        let kind = accepted(Some(accept), None).content_type;
        kind.to_str()
            .expect("ASCII")
            .replace("; charset=utf-8", "")
            .replace("application/", "")
            .replace("; version=", " ")
    }

    #[test]
    fn the_format_is_the_one_with_the_highest_weight() {
        for (accept, want) in [
            ("", "text/plain 0.0.4"),
            ("*/*", "text/plain 0.0.4"),
            ("text/html", "text/plain 0.0.4"),
            ("application/openmetrics-text", "openmetrics-text 0.0.1"),
            ("application/openmetrics-text; version=1.0.0", "openmetrics-text 1.0.0"),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", "openmetrics-text 1.0.0"),
            ("Application/OpenMetrics-Text;Version=1.0.0", "openmetrics-text 1.0.0"),
            ("application/openmetrics-text;version=2.0.0", "text/plain 0.0.4"),
            ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.3", "text/plain 0.0.4"),
            ("application/openmetrics-text;version=1.0.0;q=0,*/*;q=0.1", "text/plain 0.0.4"),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.5", "text/plain 0.0.4"),
            // What Prometheus 2 and 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                "openmetrics-text 1.0.0",
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1",
                "openmetrics-text 1.0.0",
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=0.0.1;q=0.4",
                "openmetrics-text 0.0.1",
            ),
        ] {
            assert_eq!(kind(accept), want, "{accept}");
        }
        assert_eq!(accepted(None, None).content_type, "text/plain; version=0.0.4; charset=utf-8");
    }

    #[test]
    fn the_coding_is_the_one_with_the_highest_weight_and_of_the_same_weight_the_cheapest() {
        for (encoding, want) in [
            ("", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("GZip", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("zstd;q=0.5, gzip;q=0.6", Coding::Gzip),
            ("gzip;q=0", Coding::Identity),
            ("*", Coding::Zstd),
            ("*;q=0.1, zstd;q=0", Coding::Gzip),
            ("br", Coding::Identity),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("identity;q=0.2, gzip;q=0.5", Coding::Gzip),
            ("gzip;q=x", Coding::Gzip),
        ] {
            assert_eq!(accepted(None, Some(encoding)).coding, want, "{encoding}");
        }
        assert_eq!(accepted(None, Some("gzip")).content_encoding.expect("named"), "gzip");
        assert_eq!(accepted(None, None).content_encoding, None);
    }
}

use super::Failure;
use crate::boot::host::Host;
use crate::boot::web::shown;
use hostwright_core::backoff::Backoff;
use hostwright_core::config::tls::ClientTls;
use hostwright_core::tls;
use std::collections::BTreeMap;
use std::time::Duration;

/// For the whole of an answer.
const DEADLINE: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(10);

/// A request that a step sends.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a str,
    /// Headers of the operator's. With any, no redirect is followed: they may be secrets.
    pub headers: &'a BTreeMap<String, String>,
    /// What is sent by POST, with its type; else it is a GET.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// An answer that is larger is refused.
    pub at_most: u64,
    /// How often it is tried.
    pub tries: u32,
}

impl<'a> Request<'a> {
    /// A GET, tried a few times.
    pub fn get(url: &'a str, headers: &'a BTreeMap<String, String>, at_most: u64) -> Self {
        Self { url, headers, body: None, at_most, tries: 4 }
    }

    /// Sends it and gives the answer's body.
    ///
    /// # Errors
    /// No whole answer in all tries, or one that says no.
    pub fn send(&self, host: &Host) -> Result<Vec<u8>, Failure> {
        host.block_on(self.send_async()).map_err(|error| {
            Failure::new(
                format!("{} cannot be had: {error:#}", shown(self.url)),
                "see that the address is right and can be reached from this host; the next boot tries again",
            )
        })
    }

    async fn send_async(&self) -> anyhow::Result<Vec<u8>> {
        let config =
            if self.url.starts_with("https:") { tls::client(&ClientTls::default())? } else { tls::client_of_nobody()? };
        let redirects = if self.headers.is_empty() {
            reqwest::redirect::Policy::limited(5)
        } else {
            reqwest::redirect::Policy::none()
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .redirect(redirects)
            .connect_timeout(CONNECT)
            .timeout(DEADLINE)
            .user_agent(concat!("hostwright-bootstrap/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
        let mut left = self.tries.max(1);
        loop {
            left -= 1;
            match self.once(&client).await {
                Ok(body) => return Ok(body),
                Err((error, is_final)) if is_final || left == 0 => return Err(error),
                Err(_) => tokio::time::sleep(backoff.next_delay()).await,
            }
        }
    }

    /// The error with whether it is one that no further try will mend.
    async fn once(&self, client: &reqwest::Client) -> Result<Vec<u8>, (anyhow::Error, bool)> {
        let temporary = |error: reqwest::Error| (error.without_url().into(), false);
        let mut request = match &self.body {
            None => client.get(self.url),
            Some((kind, body)) => client.post(self.url).header("content-type", *kind).body(body.clone()),
        };
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let mut answer = request.send().await.map_err(temporary)?;
        let status = answer.status();
        if !status.is_success() {
            let is_final = status.is_client_error() && ![408, 425, 429].contains(&status.as_u16());
            return Err((anyhow::anyhow!("it answers {status}"), is_final));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(temporary)? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > self.at_most {
                return Err((
                    anyhow::anyhow!("the answer is larger than {} bytes, the most that is read", self.at_most),
                    true,
                ));
            }
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::boot::host::Host;
    use std::collections::BTreeMap;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// Answers each request with the next of these.
    fn server(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("accepted");
                let mut request = vec![0; 4096];
                let _ = stream.read(&mut request).expect("read");
                stream.write_all(answer.as_bytes()).expect("answered");
            }
        });
        format!("http://{address}/x?signature=s3cret")
    }

    #[test]
    fn a_server_that_is_busy_is_asked_again_and_one_that_says_no_is_not() {
        let host = Host::new("/".into(), "/proc".into(), "/sys".into()).expect("host");
        let none = BTreeMap::new();
        let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let url = server(vec![busy, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"]);
        assert_eq!(Request::get(&url, &none, 10).send(&host).expect("fetched"), b"ok");
        let url = server(vec!["HTTP/1.1 404 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
        let failure = Request::get(&url, &none, 10).send(&host).expect_err("refused");
        assert!(failure.why.contains("404") && !failure.why.contains("s3cret"), "{failure:?}");
        let url =
            server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 20\r\nConnection: close\r\n\r\n01234567890123456789"]);
        assert!(Request::get(&url, &none, 10).send(&host).expect_err("refused").why.contains("larger"));
    }
}

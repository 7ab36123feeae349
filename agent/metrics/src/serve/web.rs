use super::limiter::Limiter;
use anyhow::{Context as _, bail};
use hostwright_core::config::metrics::web::{Pem, WebConfig};
use hostwright_core::tls;
use hostwright_duty::reread::{Loaded, Reread, Seen};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The web configuration as it is now: `web-config.yml` and the files that it names are read again when one of them
/// changed.
pub struct Web(Reread<Current>);

/// What holds for a connection or request.
pub struct Current {
    /// As it stands in the file.
    pub config: WebConfig,
    /// Absent: plain HTTP.
    pub acceptor: Option<TlsAcceptor>,
    /// Absent: as often as one likes.
    pub limiter: Option<Arc<Limiter>>,
}

impl Web {
    /// Reads the file, if there is to be one.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let file = file.map(Path::to_owned);
        let load = move |before: Option<&Current>| match &file {
            Some(file) => load(file, before),
            None => {
                let open = Current { config: WebConfig::default(), acceptor: None, limiter: None };
                Loaded { seen: Vec::new(), made: Ok(open) }
            }
        };
        Reread::first("metrics", load).map(Self)
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Current> {
        self.0.current()
    }

    /// Why the file is not taken as it is, if it is not.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.0.trouble()
    }

    /// Whether TLS is spoken.
    pub fn has_tls(&self) -> bool {
        self.0.last().acceptor.is_some()
    }
}

/// What stands in the file, and which files to watch from now on.
fn load(file: &Path, before: Option<&Current>) -> Loaded<Current> {
    let mut seen = vec![Seen::now(file)];
    let config = match WebConfig::read(file) {
        Ok(config) => config,
        Err(error) => {
            // A certificate that was to come with it may come later, but only with a change of this file.
            let made = Err(anyhow::Error::new(error).context("the web configuration cannot be used"));
            return Loaded { seen, made };
        }
    };
    seen.extend(files(&config).map(Seen::now));
    let made = keep_guarded(&config, before).and_then(|()| build(config, before));
    Loaded { seen, made: made.with_context(|| format!("the web configuration {} cannot be used", file.display())) }
}

fn files(config: &WebConfig) -> impl Iterator<Item = &Path> {
    let pems = config.tls.iter().flat_map(|tls| [Some(&tls.certificate), Some(&tls.key), tls.client_ca.as_ref()]);
    pems.flatten().filter_map(|pem| match pem {
        Pem::File(path) => Some(path.as_path()),
        Pem::Text(_) => None,
    })
}

/// A file that was just emptied to be written anew must not open what it guards.
fn keep_guarded(config: &WebConfig, before: Option<&Current>) -> anyhow::Result<()> {
    let Some(before) = before else { return Ok(()) };
    if before.config.tls.is_some() && config.tls.is_none() {
        bail!("tls_server_config is gone, and TLS is not turned off while the agent runs; restart it to do so");
    }
    if !before.config.users.is_empty() && config.users.is_empty() {
        bail!("basic_auth_users is gone, and passwords are not turned off while the agent runs; restart it to do so");
    }
    Ok(())
}

fn build(config: WebConfig, before: Option<&Current>) -> anyhow::Result<Current> {
    let acceptor = match &config.tls {
        Some(settings) => Some(TlsAcceptor::from(tls::web_server(settings, config.http2)?)),
        None => None,
    };
    // Requests go on being counted.
    let same = before.and_then(|before| before.limiter.clone());
    let same = same.filter(|limiter| Some(limiter.limit()) == config.rate_limit);
    let limiter = same.or_else(|| config.rate_limit.map(|limit| Arc::new(Limiter::new(limit))));
    Ok(Current { config, acceptor, limiter })
}

#[cfg(test)]
mod tests {
    use super::Web;
    use std::path::Path;
    use std::sync::Arc;

    const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn write(folder: &Path, text: &str) {
        std::fs::write(folder.join("web.yml"), text).expect("written");
    }

    fn trouble(web: &Web) -> String {
        web.trouble().borrow().clone().unwrap_or_default()
    }

    #[test]
    fn a_change_is_taken_and_what_cannot_be_used_changes_nothing_and_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        write(folder.path(), &format!("basic_auth_users: {{ann: {HASH}}}\nrate_limit: {{interval: 1s, burst: 5}}\n"));
        let web = Web::read(Some(&folder.path().join("web.yml"))).expect("valid");
        let first = web.current();
        assert!(Arc::ptr_eq(&first, &web.current()), "nothing changed");
        write(folder.path(), &format!("basic_auth_users: {{bob: {HASH}}}\nrate_limit: {{interval: 1s, burst: 5}}\n"));
        let second = web.current();
        assert!(second.config.users.contains_key("bob"));
        let limiters = (first.limiter.as_ref().expect("limiter"), second.limiter.as_ref().expect("limiter"));
        assert!(Arc::ptr_eq(limiters.0, limiters.1), "the same limit goes on counting");
        write(folder.path(), "basic_auth_users: {bob: hunter2}\n");
        assert!(Arc::ptr_eq(&second, &web.current()));
        let told = trouble(&web);
        assert!(told.contains("basic_auth_users.bob: expected a password") && !told.contains("hunter2"), "{told}");
        std::fs::remove_file(folder.path().join("web.yml")).expect("removed");
        assert!(Arc::ptr_eq(&second, &web.current()));
        assert!(trouble(&web).contains("cannot read"), "{}", trouble(&web));
        write(folder.path(), &format!("basic_auth_users: {{eve: {HASH}}}\n"));
        assert!(web.current().config.users.contains_key("eve"));
        assert_eq!(trouble(&web), "");
    }

    #[test]
    fn a_file_that_was_just_emptied_opens_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        write(folder.path(), &format!("basic_auth_users: {{ann: {HASH}}}\n"));
        let web = Web::read(Some(&folder.path().join("web.yml"))).expect("valid");
        write(folder.path(), "");
        assert!(web.current().config.users.contains_key("ann"));
        assert!(trouble(&web).contains("basic_auth_users is gone"), "{}", trouble(&web));
    }

    #[test]
    fn a_certificate_that_changes_before_its_key_is_taken_with_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let pair = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let ((first, first_key), (second, second_key)) = (pair(), pair());
        put("server.crt", &first);
        put("server.key", &first_key);
        write(folder.path(), "tls_server_config: {cert_file: server.crt, key_file: server.key}\n");
        let web = Web::read(Some(&folder.path().join("web.yml"))).expect("valid");
        let before = web.current();
        put("server.crt", &second);
        assert!(Arc::ptr_eq(&before, &web.current()));
        assert!(trouble(&web).contains("cannot be used with its key"), "{}", trouble(&web));
        put("server.key", &second_key);
        assert!(!Arc::ptr_eq(&before, &web.current()));
        assert_eq!(trouble(&web), "");
    }
}

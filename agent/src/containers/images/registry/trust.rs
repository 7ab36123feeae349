//! <https://docs.docker.com/engine/security/certificates/>

use hostwright_core::config::api::Certificate;
use hostwright_core::config::tls::ClientTls;
use std::path::{Path, PathBuf};

/// Where the engine looks for a registry's certificates.
const FOLDER: &str = "/etc/docker/certs.d";

/// How a registry is known: as configured, else as the engine knows it; nothing where neither says anything.
pub fn trust(host: &str, configured: Option<&ClientTls>) -> Result<Option<ClientTls>, String> {
    match configured {
        Some(tls) => Ok(Some(tls.clone())),
        None => of_engine(&Path::new(FOLDER).join(host)),
    }
}

/// `*.crt` are authorities, `NAME.cert` and `NAME.key` what the registry is shown.
fn of_engine(folder: &Path) -> Result<Option<ClientTls>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot list {}: {error}", folder.display())),
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let ending = |wanted: &str| files.iter().find(|path| path.extension().is_some_and(|ending| ending == wanted));
    let (ca, certificate) = (ending("crt").cloned(), ending("cert").cloned());
    if ca.is_none() && certificate.is_none() {
        return Ok(None);
    }
    let certificate = certificate.map(|certificate| {
        let key = certificate.with_extension("key");
        Certificate { certificate, key }
    });
    Ok(Some(ClientTls { ca, certificate, server_name: None }))
}

#[cfg(test)]
mod tests {
    use super::of_engine;

    #[test]
    fn certificates_are_found_where_the_engine_has_them() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert_eq!(of_engine(&folder.path().join("nowhere")), Ok(None));
        assert_eq!(of_engine(folder.path()), Ok(None));
        for name in ["ca.crt", "client.cert", "client.key"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        let tls = of_engine(folder.path()).expect("read").expect("present");
        assert!(tls.ca.is_some_and(|path| path.ends_with("ca.crt")));
        assert!(tls.certificate.is_some_and(|pair| pair.key.ends_with("client.key")));
    }
}

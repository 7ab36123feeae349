/// The page at `/`. The path holds nothing that HTML would take for its own.
pub fn page(path: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Hostwright metrics</title></head>\n\
         <body>\n<h1>Hostwright metrics</h1>\n<p>Version {version}</p>\n<p><a href=\"{path}\">Metrics</a>: this host's \
         metrics for Prometheus, under node_exporter's names.</p>\n</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

use bytes::Bytes;
use hostwright_core::config::endpoint::Compress;
use std::io::Write;
use tokio::task::block_in_place;

/// The body as it is sent, and its Content-Encoding.
pub fn compressed(compress: Compress, body: Bytes) -> (Bytes, Option<&'static str>) {
    match compress {
        Compress::None => (body, None),
        Compress::Gzip => (block_in_place(|| gzip(&body)), Some("gzip")),
        // Memory is all it could lack.
        Compress::Zstd => match block_in_place(|| zstd::bulk::compress(&body, 1)) {
            Ok(compressed) => (compressed.into(), Some("zstd")),
            Err(_) => (body, None),
        },
    }
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default().into()
}

use crate::bucket::error::Reason;
use crate::bucket::http::no_answer;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// What the SDK's error means to us. The one place that knows the stores' codes.
pub(in crate::bucket) fn reason<E>(error: &SdkError<E>) -> Reason
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let known = classify(answer.raw().status().as_u16(), answer.err().code(), answer.err().message());
            match (known, answer.raw().headers().get("x-amz-bucket-region")) {
                (Reason::Elsewhere { code }, Some(region)) => {
                    Reason::Elsewhere { code: format!("{code}, it is in {}", shown(region)) }
                }
                (known, _) => known,
            }
        }
        SdkError::ResponseError(answer) => {
            Reason::Busy { code: format!("status {}, an answer that is not S3's", answer.raw().status().as_u16()) }
        }
        SdkError::TimeoutError(_) => Reason::Unreachable { cause: "no answer in time".into() },
        SdkError::ConstructionFailure(_) => Reason::Refused { code: causes(error) },
        _ => match causes(error) {
            // What a source of keys says of itself comes through the SDK's words.
            cause if cause.contains("gives no access key") || cause.contains("credential") => {
                Reason::BadCredentials { code: cause }
            }
            _ => no_answer(error),
        },
    }
}

fn classify(status: u16, code: Option<&str>, message: Option<&str>) -> Reason {
    let name = code.unwrap_or_default();
    let code = words(status, code, message);
    match name {
        "NoSuchBucket" => Reason::NoSuchBucket,
        "NoSuchKey" | "NotFound" => Reason::NoSuchObject,
        "NoSuchUpload" => Reason::NoSuchUpload,
        "InvalidPart" | "InvalidPartOrder" => Reason::PartsLost { code },
        "PreconditionFailed" => Reason::Exists,
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken" => {
            Reason::BadCredentials { code }
        }
        "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => Reason::Elsewhere { code },
        "RequestTimeTooSkewed" => Reason::ClockSkew,
        "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" => Reason::Full { code },
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" => {
            Reason::Damaged { what: "the store found another checksum than the file had when it was read".into() }
        }
        // The store waited for the body in vain.
        "RequestTimeout" => Reason::Busy { code },
        _ => match status {
            301 | 307 | 308 => Reason::Elsewhere { code },
            401 | 403 => Reason::Denied { code },
            404 => Reason::NoSuchObject,
            408 | 409 | 425 | 429 => Reason::Busy { code },
            // Some operations are not there on every store; that will not change by asking again.
            501 => Reason::Refused { code },
            507 => Reason::Full { code },
            500..=599 => Reason::Busy { code },
            _ => Reason::Refused { code },
        },
    }
}

/// "403 AccessDenied: message", on one line and not long, whatever a server sends.
fn words(status: u16, code: Option<&str>, message: Option<&str>) -> String {
    let mut text = status.to_string();
    for (before, part) in [(" ", code), (": ", message)] {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            text.push_str(before);
            text.push_str(&shown(part));
        }
    }
    text
}

fn shown(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The chain of causes without its repetitions and without the SDK's own first words.
fn causes(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
        next = cause.source();
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::{Reason, classify};

    #[test]
    fn codes_of_stores_become_reasons() {
        assert!(matches!(classify(404, Some("NoSuchBucket"), None), Reason::NoSuchBucket));
        assert!(matches!(classify(403, Some("SignatureDoesNotMatch"), None), Reason::BadCredentials { .. }));
        assert!(matches!(classify(403, None, None), Reason::Denied { .. }));
        assert!(matches!(classify(301, None, None), Reason::Elsewhere { .. }), "HEAD has no code");
        assert!(matches!(classify(400, Some("AuthorizationHeaderMalformed"), None), Reason::Elsewhere { .. }));
        assert!(matches!(classify(503, Some("SlowDown"), None), Reason::Busy { .. }));
        let Reason::Refused { code } = classify(400, Some("X"), Some("a\nb")) else { panic!("refused") };
        assert_eq!(code, "400 X: a b");
    }
}

use crate::secret::SecretError;
use std::time::Duration;

/// Why a bucket did not do something: which bucket, where it is, what was asked, the reason, the remedy.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the bucket {bucket:?} ({place}): {reason}")]
pub struct BucketError {
    bucket: String,
    place: String,
    doing: String,
    reason: Reason,
}

/// The reason, with what an operator can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// A credential cannot be read.
    #[error("{0}")]
    Credentials(SecretError),
    /// A source of keys gives none.
    #[error("{place} gives no access key: {why}")]
    Keys {
        /// The file, credential or role.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The client cannot be set up.
    #[error("the connection cannot be set up: {cause}")]
    Setup {
        /// Which file or proxy, and why.
        cause: String,
    },
    /// No connection, or no answer.
    #[error("the store does not answer ({cause}); see that its endpoint is right and that the network reaches it")]
    Unreachable {
        /// What the network said.
        cause: String,
    },
    /// The store's certificate is not trusted.
    #[error(
        "the store's certificate is not trusted ({cause}); name the CA that signed it with tls: {{ca: /path}}, install it among the system's, or correct the endpoint"
    )]
    Untrusted {
        /// What rustls said.
        cause: String,
    },
    /// The connection stands but nothing moves.
    #[error("nothing moved for {} s; the connection was given up and is made anew", after.as_secs())]
    Stalled {
        /// For how long.
        after: Duration,
    },
    /// The bucket is not there.
    #[error("there is no such bucket; create it or correct its name")]
    NoSuchBucket,
    /// The object is not there.
    #[error("there is no such object")]
    NoSuchObject,
    /// The upload in parts is not there any more.
    #[error("the store has dropped the parts that were sent; the upload starts again")]
    NoSuchUpload,
    /// The store does not know the credentials.
    #[error(
        "the store refuses the credentials ({code}); see that access key and secret key are a pair, current, and of this store"
    )]
    BadCredentials {
        /// The store's code.
        code: String,
    },
    /// The credentials are known and lack a right.
    #[error("the credentials lack the right to do this ({code}); grant it, or give others")]
    Denied {
        /// The store's code, or the system's words.
        code: String,
    },
    /// The bucket is not where it is asked for.
    #[error("the bucket is not at this endpoint ({code}); set `endpoint` and `region` to those that the bucket has")]
    Elsewhere {
        /// Status, code, and the region if the store tells it.
        code: String,
    },
    /// This host's clock.
    #[error("this host's clock differs too much from the store's; see that time is synchronised")]
    ClockSkew,
    /// The store cannot do what the configuration asks for.
    #[error("the store does not support {what}; leave it out for this bucket, or take another store")]
    Unsupported {
        /// The option.
        what: String,
    },
    /// The condition of a conditional write.
    #[error("there is an object already")]
    Exists,
    /// A part that the store had acknowledged is not there any more.
    #[error("the store has lost parts that it had acknowledged ({code}); they are sent again")]
    PartsLost {
        /// The store's code.
        code: String,
    },
    /// The file is not what it was when its checksums were computed.
    #[error("the file changed while it was sent; it is taken anew")]
    Changed,
    /// No space.
    #[error("there is no space left ({code}); make room or raise the quota")]
    Full {
        /// The store's code, or the system's words.
        code: String,
    },
    /// The store is busy or ill.
    #[error("the store is busy or ill ({code})")]
    Busy {
        /// Status and code.
        code: String,
    },
    /// The store does not take the request.
    #[error(
        "the store does not take the request ({code}); see that the endpoint is that of an S3 API, and that `object` asks for nothing that the store has not"
    )]
    Refused {
        /// Status, code and message.
        code: String,
    },
    /// The key cannot be one.
    #[error("{0:?} cannot be a key here: {1}")]
    Key(String, &'static str),
    /// What the bucket tells is not what was sent.
    #[error("what the bucket holds is not what was sent ({what}); it is sent again")]
    Damaged {
        /// What differs.
        what: String,
    },
    /// An object beyond the limit of its reader.
    #[error("the object has more than {at_most} bytes, the most that is read here")]
    TooLarge {
        /// The limit.
        at_most: u64,
    },
    /// The file on this host.
    #[error("the local file cannot be read: {0}")]
    Local(std::io::Error),
    /// A file that is brought down.
    #[error("cannot write the local file: {0}")]
    Write(std::io::Error),
    /// What arrived is not what the bucket tells of.
    #[error("what arrived is not what the bucket told of, by its {by}; it is fetched again")]
    Fetched {
        /// The checksum.
        by: String,
    },
    /// The folder that is the bucket.
    #[error("{0}")]
    Folder(std::io::Error),
}

impl BucketError {
    pub(super) fn new(bucket: &str, place: &str, doing: String, reason: Reason) -> Self {
        Self { bucket: bucket.to_owned(), place: place.to_owned(), doing, reason }
    }

    /// The reason alone.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Whether trying again soon is pointless: somebody has to change something first.
    pub fn is_permanent(&self) -> bool {
        self.reason.is_permanent()
    }

    /// Whether it would be the same for any other object of the bucket.
    pub fn concerns_bucket(&self) -> bool {
        self.reason.concerns_bucket()
    }
}

impl Reason {
    /// A file that ended too early is another one now.
    pub(super) fn of_reading(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Self::Changed } else { Self::Local(error) }
    }

    /// The one place that decides what is permanent.
    fn is_permanent(&self) -> bool {
        match self {
            Self::Credentials(_)
            | Self::Keys { .. }
            | Self::Setup { .. }
            | Self::Unsupported { .. }
            | Self::Exists
            | Self::Untrusted { .. }
            | Self::NoSuchBucket
            | Self::NoSuchObject
            | Self::BadCredentials { .. }
            | Self::Denied { .. }
            | Self::Elsewhere { .. }
            | Self::Refused { .. }
            | Self::Key(..)
            | Self::TooLarge { .. } => true,
            Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::NoSuchUpload
            | Self::PartsLost { .. }
            | Self::Changed
            | Self::ClockSkew
            | Self::Full { .. }
            | Self::Busy { .. }
            | Self::Damaged { .. }
            | Self::Local(_)
            | Self::Write(_)
            | Self::Fetched { .. }
            | Self::Folder(_) => false,
        }
    }

    /// Whether the same request may well succeed within seconds.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Stalled { .. } | Self::Busy { .. } | Self::ClockSkew)
    }

    /// Whether a token may have ended: another one is to be had.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self, Self::BadCredentials { .. })
    }

    fn concerns_bucket(&self) -> bool {
        match self {
            Self::Credentials(_)
            | Self::Keys { .. }
            | Self::Setup { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Stalled { .. }
            | Self::NoSuchBucket
            | Self::BadCredentials { .. }
            | Self::Denied { .. }
            | Self::Elsewhere { .. }
            | Self::ClockSkew
            | Self::Full { .. }
            | Self::Busy { .. } => true,
            Self::NoSuchObject
            | Self::NoSuchUpload
            | Self::Unsupported { .. }
            | Self::Exists
            | Self::PartsLost { .. }
            | Self::Changed
            | Self::Refused { .. }
            | Self::Key(..)
            | Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::Local(_)
            | Self::Write(_)
            | Self::Fetched { .. }
            | Self::Folder(_) => false,
        }
    }
}

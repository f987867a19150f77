use std::io;

/// Why a snapshot cannot be made or read. The text is for the person who sent the files.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("there are more than {limit} files")]
    TooManyFiles { limit: u64 },
    #[error("the files are larger than {} MiB together", limit >> 20)]
    TooManyBytes { limit: u64 },
    #[error("the paths of the files are longer than {} MiB together", limit >> 20)]
    TooManyPathBytes { limit: u64 },
    #[error("the archive expands to more than {limit} times its size")]
    Ratio { limit: u64 },
    #[error("the archive is {format}; only tar, tar.gz and tar.zst can be read")]
    Unsupported { format: &'static str },
    #[error("the archive is truncated")]
    Truncated,
    #[error("the archive is damaged: {what}")]
    Damaged { what: String },
    #[error("the path {path:?} is refused: {why}")]
    UnsafePath { path: String, why: &'static str },
    #[error("the path {path:?} is there twice")]
    Duplicate { path: String },
    #[error("the path {path:?} is a file and a folder")]
    FileAndFolder { path: String },
    #[error("the file {path:?} changed while it was read")]
    Changed { path: String },
    #[error("the archive does not have the expected sha256")]
    Digest,
    #[error("the folder to unpack into is not empty")]
    NotEmpty,
    #[error("the list of files cannot be read: {what}")]
    List { what: String },
    #[error("the archive cannot be read")]
    Read(#[source] io::Error),
    #[error("the snapshot cannot be written")]
    Write(#[source] io::Error),
}

impl SnapshotError {
    /// A limit of size or count, rather than something wrong.
    pub const fn is_too_large(&self) -> bool {
        matches!(self, Self::TooManyFiles { .. } | Self::TooManyBytes { .. } | Self::TooManyPathBytes { .. })
    }

    /// What decompressors say, sorted into "cut off", "damaged" and "the source failed".
    pub(crate) fn from_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            // Decompressors report damage as these; a failing disk or socket has kinds of its own.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Damaged { what: error.to_string() },
            io::ErrorKind::Other if error.get_ref().is_some_and(|inner| inner.is::<SnapshotErrorBox>()) => {
                match error.into_inner().and_then(|inner| inner.downcast::<SnapshotErrorBox>().ok()) {
                    Some(carried) => carried.0,
                    None => Self::Truncated,
                }
            }
            // zstd has no kind for a damaged frame.
            io::ErrorKind::Other if error.get_ref().is_some() => Self::Damaged { what: error.to_string() },
            _ => Self::Read(error),
        }
    }

    /// Carries a typed error through an `io::Read`.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(SnapshotErrorBox(self))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SnapshotErrorBox(pub(crate) SnapshotError);

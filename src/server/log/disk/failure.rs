//! Why the archive could not be read or written.

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};
use thiserror::Error;

use super::codec::Unreadable;
use crate::server::log::ReadError;

/// Why the archive could not be read or written.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Failure(pub(super) redb::Error);

impl Failure {
    /// Whether there was no room.
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.0, redb::Error::Io(error) if super::is_full(error))
    }

    /// Whether it will be over once the file has been opened again.
    pub(super) fn passes(&self) -> bool {
        matches!(self.0, redb::Error::DatabaseClosed | redb::Error::PreviousIo)
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

impl From<Unreadable> for Failure {
    fn from(error: Unreadable) -> Self {
        Self(redb::Error::Corrupted(error.to_string()))
    }
}

macro_rules! failures {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(error.into())
            }
        })*
    };
}
failures!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

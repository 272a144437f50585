//! The lock of a log's folder: it belongs to one process at a time. It is a file of its own, because redb lets go of its
//! file's lock whenever the archive is opened again.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::server::log::OpenError;

/// The lock's file in the log's folder.
const FILE: &str = "lock";

/// Holds the folder until it is dropped.
pub(super) struct FolderLock {
    file: File,
}

impl FolderLock {
    pub(super) fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(FILE);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| super::unusable(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(folder.into())),
            Err(TryLockError::Error(error)) => Err(OpenError::NoLock { path, error }),
        }
    }
}

impl Drop for FolderLock {
    /// Closing it is not enough: a child process that is just being started shares the file until it has become another
    /// program.
    fn drop(&mut self) {
        _ = self.file.unlock();
    }
}

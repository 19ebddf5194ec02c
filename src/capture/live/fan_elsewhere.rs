//! Sharing packets out among sockets, where the kernel has no means for it: one socket takes all.

use std::io;
use std::os::fd::BorrowedFd;

use crate::time::Timestamp;

/// The sockets of one interface.
#[derive(Debug)]
pub(super) struct Fan;

impl Fan {
    pub(super) const fn new(_: usize, _: fn() -> Timestamp) -> Self {
        Self
    }

    #[allow(clippy::unused_self, reason = "the same as on Linux")]
    pub(super) fn join<T, E: From<Refused>>(
        &self,
        _: impl FnOnce() -> Result<T, E>,
        _: impl FnOnce(&T) -> BorrowedFd<'_>,
    ) -> Result<T, E> {
        Err(Refused(io::ErrorKind::Unsupported.into()).into())
    }

    #[allow(clippy::unused_self, reason = "the same as on Linux")]
    pub(super) const fn leave(&self) {}

    #[allow(clippy::unused_self, reason = "the same as on Linux")]
    pub(super) const fn since(&self) -> Option<Timestamp> {
        None
    }
}

/// What the kernel has against a socket's joining.
#[derive(Debug)]
pub(super) struct Refused(pub(super) io::Error);

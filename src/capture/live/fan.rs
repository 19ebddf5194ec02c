//! Several sockets of one interface, among which the kernel shares its packets out by the pair of hosts they are between.
//!
//! A socket takes in everything from the moment it is opened until it has joined. What was captured before all had
//! joined is therefore left out, or packets would be judged twice, and flows would begin with one socket and go on with
//! another.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::netdevice;
use super::fan_program::program;
use crate::time::Timestamp;

/// How long after the last socket has joined a packet may still be on its way by the old ways.
const SETTLING: Duration = Duration::from_millis(2);

/// The sockets of one interface.
#[derive(Debug)]
pub(super) struct Fan {
    /// How many there are when all have joined.
    seats: usize,
    /// Tells the time packets are stamped with.
    clock: fn() -> Timestamp,
    joined: Mutex<Joined>,
}

#[derive(Debug, Default)]
struct Joined {
    group: Option<netdevice::Fan>,
    members: usize,
    /// From when on packets are shared out.
    since: Option<Timestamp>,
}

impl Fan {
    pub(super) fn new(seats: usize, clock: fn() -> Timestamp) -> Self {
        Self {
            seats,
            clock,
            joined: Mutex::default(),
        }
    }

    /// Opens a socket and has it join. Sockets join in the order they are opened, which is also that in which the kernel
    /// has them join again when the interface was down.
    ///
    /// # Errors
    /// Those of `open`, and what the kernel has against its joining.
    pub(super) fn join<T, E: From<Refused>>(
        &self,
        open: impl FnOnce() -> Result<T, E>,
        socket: impl FnOnce(&T) -> BorrowedFd<'_>,
    ) -> Result<T, E> {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = open()?;
        let fd = socket(&opened);
        match joined.group {
            Some(group) => group.join(fd),
            None => netdevice::Fan::open(fd, &mut program()).map(|group| joined.group = Some(group)),
        }
        .map_err(Refused)?;
        joined.members += 1;
        joined.since = (joined.members == self.seats).then(|| (self.clock)().plus(SETTLING));
        Ok(opened)
    }

    /// A socket was closed: its interface is gone, and the other sockets will find that as well.
    pub(super) fn leave(&self) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.members = joined.members.saturating_sub(1);
        if joined.members == 0 {
            *joined = Joined::default();
        }
    }

    /// From when on packets are shared out; none while not all have joined.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner).since
    }
}

/// What the kernel has against a socket's joining.
#[derive(Debug)]
pub(super) struct Refused(pub(super) io::Error);

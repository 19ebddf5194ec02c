//! Whether an interface is up.

use std::io;

use super::super::netdevice::NetDevices;

/// How an interface stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// It is up.
    Up,
    /// It is there, but down.
    Down,
    /// There is none of that name.
    Absent,
}

/// Answers how interfaces stand.
#[derive(Debug)]
pub(super) struct LinkStates(NetDevices);

impl LinkStates {
    /// Ready to be asked.
    ///
    /// # Errors
    /// No socket can be had.
    pub(super) fn open() -> io::Result<Self> {
        NetDevices::open().map(Self)
    }

    /// How the interface `name` stands; none if the kernel does not say.
    pub(super) fn of(&self, name: &str) -> Option<LinkState> {
        match self.0.flags(name) {
            Ok(flags) if flags & libc::IFF_UP != 0 => Some(LinkState::Up),
            Ok(_) => Some(LinkState::Down),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Some(LinkState::Absent),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_absent() {
        let states = LinkStates::open().unwrap();
        assert_eq!(states.of("nosuch0"), Some(LinkState::Absent));
        assert_eq!(states.of("a name that is much too long"), Some(LinkState::Absent));
        assert!(matches!(states.of("lo"), Some(LinkState::Up | LinkState::Down)));
    }
}

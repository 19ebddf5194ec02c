//! Whether an interface is up, asked of the kernel without any privilege and without opening anything anew.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

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
pub(super) struct LinkStates {
    socket: OwnedFd,
}

impl LinkStates {
    /// Ready to be asked.
    ///
    /// # Errors
    /// No socket can be had.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// How the interface `name` stands; none if the kernel does not say.
    pub(super) fn of(&self, name: &str) -> Option<LinkState> {
        match flags(&self.socket, name) {
            Ok(flags) if flags & libc::IFF_UP != 0 => Some(LinkState::Up),
            Ok(_) => Some(LinkState::Down),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Some(LinkState::Absent),
            Err(_) => None,
        }
    }
}

/// The flags of the interface `name` (netdevice(7), SIOCGIFFLAGS).
#[allow(unsafe_code)]
fn flags(socket: &impl AsFd, name: &str) -> io::Result<i32> {
    // SAFETY: ifreq is plain data of integers and unions of them, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the descriptor is open while it is borrowed, and SIOCGIFFLAGS reads the name of an ifreq and writes its
    // flags, both within the struct passed.
    let outcome = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the flags are what the union holds.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }))
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

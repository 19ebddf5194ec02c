//! How an interface is set: up, its MTU, and what its driver merges or splits before or after packets are seen.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::check::{Check, State};

/// `ethtool` commands that get one setting (linux/ethtool.h), and LRO's bit among the flags.
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// An interface that can be asked how it is set. Asking takes no privilege.
#[derive(Debug)]
pub(super) struct Interface<'a> {
    name: &'a str,
    socket: OwnedFd,
}

/// A request and its answer (linux/ethtool.h, struct ethtool_value).
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

impl<'a> Interface<'a> {
    /// # Errors
    /// No socket can be had.
    pub(super) fn named(name: &'a str) -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { name, socket })
    }

    /// Whether it is up and has a carrier.
    pub(super) fn link(&self) -> Check {
        let Ok(flags) = self.flags() else {
            return Check::unknown("interface", "the kernel does not say whether it is up");
        };
        if flags & libc::IFF_UP == 0 {
            let advice = format!("ip link set {} up", self.name);
            Check::bad("interface", State::Problem, "it is down, so nothing comes", advice)
        } else if flags & libc::IFF_RUNNING == 0 {
            let advice = "look after the cable, the switch's port or the other end";
            Check::bad("interface", State::Problem, "it is up but has no carrier", advice)
        } else {
            Check::good("interface", "it is up")
        }
    }

    /// Whether packets are merged before they are seen, or seen before they are split.
    pub(super) fn offloads(&self) -> Check {
        let gro = self.setting(ETHTOOL_GGRO).map(|value| value != 0);
        let lro = self.setting(ETHTOOL_GFLAGS).map(|flags| flags & ETH_FLAG_LRO != 0);
        let sent = [("tso", ETHTOOL_GTSO), ("gso", ETHTOOL_GGSO)]
            .map(|(name, command)| (name, matches!(self.setting(command), Ok(1..))));
        if gro.is_err() && lro.is_err() {
            return Check::unknown("offloads", "its driver does not say which packets it merges");
        }
        let on = |names: &[(&str, bool)]| -> Vec<String> {
            let on = names.iter().filter(|(_, on)| *on);
            on.map(|(name, _)| (*name).to_owned()).collect()
        };
        let received = on(&[("gro", gro.unwrap_or(false)), ("lro", lro.unwrap_or(false))]);
        let sent = on(&sent);
        let off = |names: &[String]| {
            let pairs: Vec<_> = names.iter().map(|name| format!("{name} off")).collect();
            format!("ethtool -K {} {}", self.name, pairs.join(" "))
        };
        if !received.is_empty() {
            let says = format!(
                "{} merges received segments before they are seen: their number, sizes, TTLs and IP ids are not those \
                 of the wire",
                received.join(" and ").to_uppercase()
            );
            Check::bad("offloads", State::Problem, says, off(&[received, sent].concat()))
        } else if !sent.is_empty() {
            let says = format!(
                "{} splits what this machine itself sends after it is seen; what only passes by is as it was",
                sent.join(" and ").to_uppercase()
            );
            Check::bad("offloads", State::Notice, says, off(&sent))
        } else {
            Check::good("offloads", "packets are seen as they were on the wire")
        }
    }

    #[allow(unsafe_code)]
    fn flags(&self) -> io::Result<i32> {
        let mut request = self.request()?;
        // SAFETY: the descriptor is open, and SIOCGIFFLAGS reads the name of the ifreq passed and writes its flags.
        let outcome = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
        if outcome < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the flags are what the union holds.
        Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    /// What the driver answers to a command that gets a value.
    #[allow(unsafe_code)]
    fn setting(&self, command: u32) -> io::Result<u32> {
        let mut value = EthtoolValue { command, data: 0 };
        let mut request = self.request()?;
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the descriptor is open; SIOCETHTOOL reads the name of the ifreq passed and, for the commands above,
        // reads and writes an ethtool_value behind its pointer, which outlives the call.
        let outcome = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if outcome < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(value.data)
    }

    /// A request about this interface.
    #[allow(unsafe_code)]
    fn request(&self) -> io::Result<libc::ifreq> {
        // SAFETY: ifreq is plain data of integers, pointers and unions of them, for which zeroes are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays zero.
        if self.name.len() >= request.ifr_name.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        Ok(request)
    }
}

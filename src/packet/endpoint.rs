//! One end of a conversation: an address and a port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address and a port; port 0 where the protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    /// The host.
    pub ip: IpAddr,
    /// The TCP or UDP port.
    pub port: u16,
}

impl Endpoint {
    /// Whether it comes before `other`, or is the same; the order is that of [`Ord`].
    #[inline]
    #[must_use]
    pub fn is_low_end_with(&self, other: &Self) -> bool {
        let number = |ip: Ipv4Addr, port: u16| u64::from(ip.to_bits()) << 16 | u64::from(port);
        match (self.ip, other.ip) {
            (IpAddr::V4(mine), IpAddr::V4(theirs)) => number(mine, self.port) <= number(theirs, other.port),
            (IpAddr::V6(mine), IpAddr::V6(theirs)) => (mine.to_bits(), self.port) <= (theirs.to_bits(), other.port),
            (IpAddr::V4(_), IpAddr::V6(_)) => true,
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// An end at `ip` and `port`.
    #[must_use]
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }
}

/// `192.0.2.1:443` or `[2001:db8::1]:443`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

//! How an interface is set: up, its MTU, and what its driver merges or splits before or after packets are seen.

use std::io;

use blockscope::capture::netdevice::{GetsNumber, NetDevices};

use super::check::{Check, State};

/// An interface that can be asked how it is set. Asking takes no privilege.
#[derive(Debug)]
pub(super) struct Interface<'a> {
    name: &'a str,
    devices: NetDevices,
}

impl<'a> Interface<'a> {
    /// # Errors
    /// No socket can be had.
    pub(super) fn named(name: &'a str) -> io::Result<Self> {
        let devices = NetDevices::open()?;
        Ok(Self { name, devices })
    }

    /// Whether it is up and has a carrier.
    pub(super) fn link(&self) -> Check {
        let Ok(flags) = self.devices.flags(self.name) else {
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
        let gro = self.get(GetsNumber::Gro).map(|value| value != 0);
        let lro = self.get(GetsNumber::Flags).map(|flags| flags & GetsNumber::LRO != 0);
        let sent = [("tso", GetsNumber::Tso), ("gso", GetsNumber::Gso)]
            .map(|(name, command)| (name, matches!(self.get(command), Ok(1..))));
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

    fn get(&self, command: GetsNumber) -> io::Result<u32> {
        self.devices.ethtool(self.name, command)
    }
}

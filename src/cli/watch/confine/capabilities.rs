//! Capabilities: all of them go, or all but `cap_net_raw`.

use caps::{CapSet, Capability, CapsHashSet};

use super::RawSockets;

fn kept(raw_sockets: RawSockets) -> CapsHashSet {
    match raw_sockets {
        RawSockets::GivenUp => CapsHashSet::new(),
        RawSockets::Kept => CapsHashSet::from([Capability::CAP_NET_RAW]),
    }
}

/// Empties the set of what could ever be gained, if this process may; `no_new_privs` does the same for whoever may not.
pub(super) fn close(raw_sockets: RawSockets) -> Result<(), String> {
    let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(|error| error.to_string())?;
    if !may {
        return Ok(());
    }
    let kept = kept(raw_sockets);
    let bounding = caps::read(None, CapSet::Bounding).map_err(|error| error.to_string())?;
    for capability in bounding.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Gives up all capabilities but those kept, also those that a program started later would have.
pub(super) fn leave(raw_sockets: RawSockets) -> Result<(), String> {
    let held = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
    let kept: CapsHashSet = kept(raw_sockets).intersection(&held).copied().collect();
    for (set, value) in [
        (CapSet::Ambient, &CapsHashSet::new()),
        (CapSet::Inheritable, &CapsHashSet::new()),
        (CapSet::Effective, &kept),
        (CapSet::Permitted, &kept),
    ] {
        caps::set(None, set, value).map_err(|error| error.to_string())?;
    }
    Ok(())
}

//! Ethernet frames and IP headers, as far as a link touches them.

/// Length of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Header and packet of a frame that carries IP.
pub(crate) fn split(frame: &[u8]) -> Option<([u8; ETHERNET], &[u8])> {
    let (header, packet) = frame.split_first_chunk::<ETHERNET>()?;
    match header[12..] {
        [0x08, 0x00] | [0x86, 0xDD] => Some((*header, packet)),
        _ => None,
    }
}

/// A frame with these addresses around a packet.
pub(crate) fn join(header: [u8; ETHERNET], packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if is_v6(packet) { [0x86, 0xDD] } else { [0x08, 0x00] };
    let mut frame = header[..12].to_vec();
    frame.extend_from_slice(&kind);
    frame.extend_from_slice(packet);
    frame
}

fn is_v6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

/// Whom a packet is for.
pub(crate) fn destination(packet: &[u8]) -> Option<&[u8]> {
    if is_v6(packet) {
        packet.get(24..40)
    } else {
        packet.get(16..20)
    }
}

/// Whose a packet is.
pub(crate) fn source(packet: &[u8]) -> Option<&[u8]> {
    if is_v6(packet) {
        packet.get(8..24)
    } else {
        packet.get(12..16)
    }
}

/// Whether a packet comes from an address or goes there.
pub(crate) fn concerns(packet: &[u8], address: &[u8]) -> bool {
    source(packet) == Some(address) || destination(packet) == Some(address)
}

/// Whether a packet is of the link itself: neighbour discovery, which no router forwards (RFC 4861).
pub(crate) fn stays_on_the_link(packet: &[u8]) -> bool {
    is_v6(packet) && packet.get(6) == Some(&58) && matches!(packet.get(40), Some(133..=137))
}

/// Takes one off its time to live; says whether anything is left.
pub(crate) fn hop(packet: &mut [u8]) -> bool {
    let at = if is_v6(packet) { 7 } else { 8 };
    let Some(left) = packet.get_mut(at) else { return false };
    if *left <= 1 {
        return false;
    }
    *left -= 1;
    if !is_v6(packet) {
        sum_header(packet);
    }
    true
}

/// Fills in the checksum of an IPv4 header (RFC 791).
fn sum_header(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    let Some(header) = packet.get_mut(..len) else { return };
    header[10..12].fill(0);
    let mut sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// What of a packet is the same on every link it passes: all but its time to live and what sums it up, without the
/// padding of a short frame.
pub(crate) fn identity(packet: &[u8]) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let mut same = packet.to_vec();
    if is_v6(packet) && packet.len() >= 40 {
        same.truncate(40 + word(4));
        same[7] = 0;
    } else if packet.len() >= 20 {
        same.truncate(word(2));
        same[8] = 0;
        same[10..12].fill(0);
    }
    same
}

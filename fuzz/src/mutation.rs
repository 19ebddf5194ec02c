//! Mutations that know what a capture is: packets are dropped, repeated, moved, cut, delayed and altered, and what comes
//! out is still a capture whose lengths agree, most of the time.

/// A packet of a classic capture.
#[derive(Clone)]
struct Packet {
    seconds: u32,
    fraction: u32,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// Numbers that look drawn (xorshift), the same for the same seed.
struct Chance(u32);

impl Chance {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound.max(1)
    }
}

const FILE_HEADER: usize = 24;

/// Mutates the capture in `bytes`; `scramble` alters bytes as a fuzzer does, up to a length. What is no classic
/// little-endian capture is scrambled as it is.
pub fn mutate(bytes: &[u8], seed: u32, mut scramble: impl FnMut(&mut Vec<u8>, usize)) -> Vec<u8> {
    let mut chance = Chance(seed | 1);
    chance.next();
    let Some((header, mut packets)) = take_apart(bytes) else {
        let mut bytes = bytes.to_vec();
        let most = bytes.len() + 64;
        scramble(&mut bytes, most);
        return bytes;
    };
    let link = u32::from_le_bytes([header[20], header[21], header[22], header[23]]) & 0xffff;
    for _ in 0..=chance.below(4) {
        let index = chance.below(packets.len());
        let other = chance.below(packets.len());
        match chance.below(13) {
            0 if packets.len() > 1 => _ = packets.remove(index),
            1 => {
                let copy = packets[index].clone();
                packets.insert(other, copy);
            }
            2 => packets.swap(index, other),
            3 => {
                let len = chance.below(packets[index].bytes.len() + 1);
                packets[index].bytes.truncate(len);
            }
            // A capture that begins late, or breaks off.
            4 if packets.len() > 2 => {
                let kept = 1 + chance.below(packets.len() - 1);
                if chance.below(2) == 0 {
                    packets.truncate(kept);
                } else {
                    packets.drain(..packets.len() - kept);
                }
            }
            5 => {
                let by = [1, 3, 60, 600, u32::MAX / 2][chance.below(5)];
                let later = chance.below(2) == 0;
                for packet in &mut packets[index..] {
                    packet.seconds = if later {
                        packet.seconds.wrapping_add(by)
                    } else {
                        packet.seconds.wrapping_sub(by)
                    };
                }
            }
            6 => packets[index].fraction = chance.next() % 1_000_000,
            // One packet's payload in the headers of another: rivals, and answers to what was not asked.
            7 => {
                let from = payload_at(&packets[other].bytes, link);
                let to = payload_at(&packets[index].bytes, link);
                if let (Some(from), Some(to)) = (from, to) {
                    let payload = packets[other].bytes[from..].to_vec();
                    packets[index].bytes.truncate(to);
                    packets[index].bytes.extend(payload);
                    fix_lengths(&mut packets[index], link);
                }
            }
            8 | 9 => {
                if let Some(at) = payload_at(&packets[index].bytes, link) {
                    let mut payload = packets[index].bytes.split_off(at);
                    let most = payload.len() + 40;
                    scramble(&mut payload, most);
                    packets[index].bytes.extend(payload);
                    fix_lengths(&mut packets[index], link);
                }
            }
            // A field of the headers, with a value that matters or any.
            _ => {
                let packet = &mut packets[index].bytes;
                let end = payload_at(packet, link).unwrap_or(packet.len());
                if end > 0 {
                    let at = chance.below(end);
                    packet[at] = match chance.below(4) {
                        0 => packet[at] ^ 1 << chance.below(8),
                        1 => packet[at].wrapping_add(1),
                        2 => [0, 1, 4, 0x14, 0x45, 0x7f, 0x80, 0xff][chance.below(8)],
                        _ => chance.next() as u8,
                    };
                }
            }
        }
    }
    let mut mutated = header;
    for packet in &packets {
        let len = packet.bytes.len() as u32;
        for word in [packet.seconds, packet.fraction, len, packet.wire_len.max(len)] {
            mutated.extend_from_slice(&word.to_le_bytes());
        }
        mutated.extend_from_slice(&packet.bytes);
    }
    mutated
}

fn take_apart(bytes: &[u8]) -> Option<(Vec<u8>, Vec<Packet>)> {
    let (header, mut rest) = bytes.split_at_checked(FILE_HEADER)?;
    if !header.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]) && !header.starts_with(&[0x4d, 0x3c, 0xb2, 0xa1]) {
        return None;
    }
    let mut packets = Vec::new();
    while let Some((head, behind)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (bytes, behind) = behind.split_at_checked(word(8) as usize)?;
        packets.push(Packet {
            seconds: word(0),
            fraction: word(4),
            wire_len: word(12),
            bytes: bytes.to_vec(),
        });
        rest = behind;
    }
    (!packets.is_empty()).then(|| (header.to_vec(), packets))
}

/// Where the IP header begins.
fn ip_at(link: u32) -> Option<usize> {
    match link {
        1 => Some(14),
        101 => Some(0),
        113 => Some(16),
        _ => None,
    }
}

/// Where the IP header ends and what it carries.
fn ip_end(packet: &[u8], link: u32) -> Option<(usize, u8)> {
    let at = ip_at(link)?;
    match packet.get(at)? >> 4 {
        4 => Some((at + usize::from(packet[at] & 15) * 4, *packet.get(at + 9)?)),
        6 => Some((at + 40, *packet.get(at + 6)?)),
        _ => None,
    }
}

fn payload_at(packet: &[u8], link: u32) -> Option<usize> {
    let (at, protocol) = ip_end(packet, link)?;
    let at = match protocol {
        6 => at + usize::from(*packet.get(at + 12)? >> 4) * 4,
        17 => at + 8,
        _ => at,
    };
    (at <= packet.len()).then_some(at)
}

/// Sets the lengths of IP and UDP by what is there.
fn fix_lengths(packet: &mut Packet, link: u32) {
    let Some((at, (end, protocol))) = ip_at(link).zip(ip_end(&packet.bytes, link)) else {
        return;
    };
    let len = packet.bytes.len();
    let is_v4 = packet.bytes[at] >> 4 == 4;
    let mut put = |place: usize, value: usize| {
        if let Some(field) = packet.bytes.get_mut(place..place + 2) {
            field.copy_from_slice(&(value as u16).to_be_bytes());
        }
    };
    match is_v4 {
        true => put(at + 2, len.saturating_sub(at)),
        false => put(at + 4, len.saturating_sub(at + 40)),
    }
    if protocol == 17 {
        put(end + 4, len.saturating_sub(end));
    }
    packet.wire_len = len as u32;
}

//! Bulk: captures of tens of millions of packets, to measure speed with.
//!
//! A story simulates a network and takes its time. Here nothing is simulated: a fixed number of flows are under way at
//! once, each follows the script of its protocol (`flow`), and who sends the next packet is drawn by lot. Every packet
//! is a real one, checksums included; payloads come from a pool made once (`pool`). The same options give the same
//! bytes.

mod flow;
mod pool;

use std::io::{self, Write};

use self::flow::{Ended, Flow, Role};
use self::pool::Pool;
use super::capture_writer::{ETHERNET, file_header, record_header};
use super::chance::Chance;
use super::datagram::Datagram;

/// A mix of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Web, DNS and QUIC, some 380 bytes a frame: an uplink.
    Uplink,
    /// Large downloads, some 960 bytes a frame.
    Web,
    /// Long-lived flows of small packets, some 85 bytes a frame, no two packets of a flow in a row.
    Small,
    /// DNS alone.
    Dns,
}

impl Mix {
    /// All mixes.
    pub const ALL: [Self; 4] = [Self::Uplink, Self::Web, Self::Small, Self::Dns];

    /// The mix's name on the command line.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Uplink => "mix",
            Self::Web => "web",
            Self::Small => "small",
            Self::Dns => "dns",
        }
    }

    /// Flows under way at once unless told otherwise.
    #[must_use]
    pub const fn flows(self) -> u32 {
        match self {
            Self::Uplink | Self::Dns => 100_000,
            Self::Web => 20_000,
            Self::Small => 1_000_000,
        }
    }

    /// How often the next packet belongs to the flow of the last one: packets come in trains.
    const fn train(self) -> f64 {
        match self {
            Self::Uplink => 0.5,
            Self::Web => 0.7,
            Self::Small | Self::Dns => 0.0,
        }
    }

    /// How many of 16 data packets of a flow are full ones.
    const fn full_packets(self) -> u64 {
        match self {
            Self::Uplink => 5,
            Self::Web | Self::Small | Self::Dns => 14,
        }
    }

    fn role(self, chance: &mut Chance) -> Role {
        match (self, chance.below(100)) {
            (Self::Uplink, 0..45) => Role::Tls,
            (Self::Uplink, 45..60) => Role::Http,
            (Self::Uplink, 60..90) | (Self::Dns, _) => Role::Dns,
            (Self::Uplink, _) => Role::Quic,
            (Self::Web, 0..80) => Role::Tls,
            (Self::Web, _) => Role::Http,
            (Self::Small, _) => Role::Chat,
        }
    }
}

/// What to forge.
#[derive(Clone, Copy, Debug)]
pub struct BulkOptions {
    /// Which mix.
    pub mix: Mix,
    /// How many packets.
    pub packets: u64,
    /// How many flows are under way at once (at least 1).
    pub flows: u32,
    /// The share of flows that filtering equipment interferes with, 0 to 1.
    pub attacked: f64,
    /// What all chance is drawn from.
    pub seed: u64,
}

/// What was forged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkCount {
    /// Packets.
    pub packets: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
    /// Of them, flows with interference.
    pub attacked: u64,
}

/// When a bulk capture begins: 2026-01-01 00:00:00 UTC, in nanoseconds since the Unix epoch.
const START: u64 = 1_767_225_600_000_000_000;

/// Packets a second and flow under way.
const PACE: u64 = 10;

/// Share of flows over IPv6, and in a VLAN, in percent: what an uplink shows today, roughly.
const IPV6: u64 = 25;
const VLAN: u64 = 5;

/// Writes the capture, a classic pcap file, to `out`.
///
/// # Errors
/// When `out` cannot be written.
pub fn forge_bulk(options: &BulkOptions, out: &mut dyn Write) -> io::Result<BulkCount> {
    let mut chance = Chance::new(options.seed).fork("bulk");
    let pool = Pool::new(&mut chance.fork("pool"));
    let mut count = BulkCount::default();
    let header = file_header(ETHERNET, 65_535);
    out.write_all(&header)?;
    count.bytes += header.len() as u64;
    let step = 1_000_000_000 / (PACE * u64::from(options.flows.max(1)));
    let mut now = START;
    let mut flows: Vec<Flow> = Vec::new();
    flows.resize_with(options.flows.max(1) as usize, || {
        let flow = begin(options, &mut count, &mut chance);
        // A capture begins in the middle of things for those who never end.
        if options.mix == Mix::Small {
            flow.under_way()
        } else {
            flow
        }
    });
    let (mut turn, mut frame) = (0_usize, Vec::new());
    for _ in 0..options.packets {
        now += 1 + chance.below(2 * step.max(1));
        if !chance.hit(options.mix.train()) {
            turn = chance.below(flows.len() as u64) as usize;
        }
        let flow = &mut flows[turn];
        let vlan = flow.number % 100 < VLAN;
        let (packet, ended) = flow.next(&pool, now, &mut chance);
        put_frame(&mut frame, &packet, vlan);
        out.write_all(&record_header(now, frame.len(), frame.len()))?;
        out.write_all(&frame)?;
        count.packets += 1;
        count.bytes += 16 + frame.len() as u64;
        if ended == Ended::Yes {
            flows[turn] = begin(options, &mut count, &mut chance);
        }
    }
    Ok(count)
}

fn begin(options: &BulkOptions, count: &mut BulkCount, chance: &mut Chance) -> Flow {
    let number = count.flows;
    count.flows += 1;
    let attacked = chance.hit(options.attacked);
    count.attacked += u64::from(attacked);
    let role = options.mix.role(chance);
    let ipv6 = chance.below(100) < IPV6;
    Flow::new(number, role, options.mix.full_packets(), ipv6, attacked, chance)
}

/// An Ethernet frame around `packet`, in VLAN 7 if it is in one.
fn put_frame(frame: &mut Vec<u8>, packet: &Datagram, vlan: bool) {
    frame.clear();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    if vlan {
        frame.extend_from_slice(&[0x81, 0, 0, 7]);
    }
    let kind: u16 = if packet.ip.src.is_ipv4() { 0x0800 } else { 0x86DD };
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(&packet.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forged(mix: Mix, attacked: f64, seed: u64) -> (Vec<u8>, BulkCount) {
        let options = BulkOptions {
            mix,
            packets: 40_000,
            flows: 200,
            attacked,
            seed,
        };
        let mut file = Vec::new();
        let count = forge_bulk(&options, &mut file).unwrap();
        (file, count)
    }

    #[test]
    fn the_same_options_give_the_same_bytes_and_another_seed_others() {
        let (one, count) = forged(Mix::Uplink, 0.05, 1);
        assert_eq!(one, forged(Mix::Uplink, 0.05, 1).0);
        assert_ne!(one, forged(Mix::Uplink, 0.05, 2).0);
        assert_eq!((count.packets, count.bytes), (40_000, one.len() as u64));
        assert!(count.attacked > 0 && count.attacked < count.flows / 10, "{count:?}");
    }

    #[test]
    fn frames_are_as_large_as_their_mix_says() {
        for (mix, sizes) in [
            (Mix::Uplink, 330..460),
            (Mix::Web, 850..1070),
            (Mix::Small, 75..95),
            (Mix::Dns, 80..140),
        ] {
            let (file, count) = forged(mix, 0.0, 3);
            let mean = (file.len() as u64 - 24) / count.packets - 16;
            assert!(sizes.contains(&mean), "{}: {mean} bytes a frame", mix.key());
            assert_eq!(count.attacked, 0);
        }
    }
}

//! Which socket of a fan a packet goes to: a classic BPF program the kernel runs on each, that makes one number of the
//! two hosts a packet is between, whichever of them sent it.
//!
//! It sees what [`HostPair`](crate::packet::host_pair::HostPair) sees: fragments have no ports but both hosts, and an
//! ICMP error goes where the packet it quotes went. Tags (up to [`MOST_TAGS`] beside the one the kernel takes off) and
//! PPPoE are peeled; of what else carries IP (MPLS labels, tunnels below IP) and of what is cut short all packets make the
//! same number, which is 0: one socket has them all, and no pair of hosts is torn apart.
//!
//! The kernel shows the program packets that come in from their network header on, and packets that go out from their
//! first byte on. Loads of the latter are therefore relative to the network header the kernel knows of
//! (`SKF_NET_OFF`); for the former they are plain, because only plain loads reach packets that lie in pieces.

use libc::sock_filter;

/// Tags a packet may have that the kernel did not take off.
const MOST_TAGS: u8 = 2;

const PACKET_OUTGOING: u32 = 4;
const PKT_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;
const PROTOCOL: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL) as u32;
const NETWORK: u32 = libc::SKF_NET_OFF as u32;

/// Odd numbers whose bits look random: the first of the golden ratio, the others of murmur3's last step.
const SPREAD: u32 = 0x9e37_79b9;
const BLEND: u32 = 0x85eb_ca6b;
const FINISH: u32 = 0xc2b2_ae35;

/// Scratch words.
const BASE: u32 = 0;
const ONE: u32 = 1;
const OTHER: u32 = 2;
const SUM: u32 = 3;

/// Places a jump leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outgoing,
    Peel,
    Tag(u8),
    Pppoe,
    Ipv4InPppoe,
    Ipv6InPppoe,
    Ipv4,
    Error,
    PlainIpv4,
    Ipv6,
    PlainIpv6,
    Mix,
    Nothing,
}

/// A step of the program before places have numbers.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An instruction and its operand.
    Do(u32, u32),
    /// Goes to the place if the accumulator compares so with the number, and on otherwise.
    If(u32, u32, Place),
    /// Goes to the place unless the accumulator is the number.
    Unless(u32, Place),
    Go(Place),
    Here(Place),
}

use Step::{Do, Go, Here, If, Unless};
use libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP,
    BPF_K, BPF_LD, BPF_LDX, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MUL, BPF_RET, BPF_RSH, BPF_ST, BPF_STX, BPF_TAX, BPF_TXA,
    BPF_W, BPF_X, BPF_XOR,
};

const BYTE: u32 = BPF_LD | BPF_B | BPF_IND;
const HALF: u32 = BPF_LD | BPF_H | BPF_IND;
const WORD: u32 = BPF_LD | BPF_W | BPF_IND;
const KNOWN: u32 = BPF_LD | BPF_W | BPF_ABS;
const KEEP: u32 = BPF_ST;
const KEEP_X: u32 = BPF_STX;
const RECALL: u32 = BPF_LD | BPF_MEM;
const RECALL_X: u32 = BPF_LDX | BPF_MEM;
const SET_X: u32 = BPF_LDX | BPF_IMM;
const TO_X: u32 = BPF_MISC | BPF_TAX;
const FROM_X: u32 = BPF_MISC | BPF_TXA;
const PLUS: u32 = BPF_ALU | BPF_ADD | BPF_K;
const TIMES: u32 = BPF_ALU | BPF_MUL | BPF_K;
const MASK: u32 = BPF_ALU | BPF_AND | BPF_K;
const LEFT: u32 = BPF_ALU | BPF_LSH | BPF_K;
const RIGHT: u32 = BPF_ALU | BPF_RSH | BPF_K;
const PLUS_X: u32 = BPF_ALU | BPF_ADD | BPF_X;
const XOR_X: u32 = BPF_ALU | BPF_XOR | BPF_X;

/// The program.
pub(super) fn program() -> Vec<sock_filter> {
    assemble(&steps())
}

fn steps() -> Vec<Step> {
    let mut steps = vec![
        // X is where the network header begins, for the loads to come.
        Do(KNOWN, PKT_TYPE),
        If(BPF_JEQ, PACKET_OUTGOING, Place::Outgoing),
        Do(SET_X, 0),
        Go(Place::Peel),
        Here(Place::Outgoing),
        Do(SET_X, NETWORK),
        Here(Place::Peel),
        Do(KNOWN, PROTOCOL),
    ];
    for tag in 0..=MOST_TAGS {
        steps.extend([
            If(BPF_JEQ, 0x0800, Place::Ipv4),
            If(BPF_JEQ, 0x86dd, Place::Ipv6),
            If(BPF_JEQ, 0x8864, Place::Pppoe),
        ]);
        if tag == MOST_TAGS {
            break;
        }
        steps.extend([0x8100, 0x88a8, 0x9100, 0x9200].map(|kind| If(BPF_JEQ, kind, Place::Tag(tag))));
        steps.extend([
            Go(Place::Nothing),
            Here(Place::Tag(tag)),
            Do(HALF, 2),
            Do(KEEP, ONE),
            Do(FROM_X, 0),
            Do(PLUS, 4),
            Do(TO_X, 0),
            Do(RECALL, ONE),
        ]);
    }
    steps.extend([Go(Place::Nothing), Here(Place::Pppoe), Do(HALF, 6)]);
    steps.extend([
        If(BPF_JEQ, 0x0021, Place::Ipv4InPppoe),
        If(BPF_JEQ, 0x0057, Place::Ipv6InPppoe),
        Go(Place::Nothing),
        Here(Place::Ipv4InPppoe),
        Do(FROM_X, 0),
        Do(PLUS, 8),
        Do(TO_X, 0),
        Go(Place::Ipv4),
        Here(Place::Ipv6InPppoe),
        Do(FROM_X, 0),
        Do(PLUS, 8),
        Do(TO_X, 0),
        Go(Place::Ipv6),
    ]);
    ipv4(&mut steps);
    ipv6(&mut steps);
    steps.extend([
        Here(Place::Mix),
        // The sum and the difference of the bits do not depend on which comes first.
        Do(RECALL_X, ONE),
        Do(RECALL, OTHER),
        Do(PLUS_X, 0),
        Do(TIMES, SPREAD),
        Do(KEEP, SUM),
        Do(RECALL, OTHER),
        Do(XOR_X, 0),
        Do(TIMES, BLEND),
        Do(RECALL_X, SUM),
        Do(XOR_X, 0),
        Do(KEEP, SUM),
        Do(RIGHT, 15),
        Do(RECALL_X, SUM),
        Do(XOR_X, 0),
        Do(TIMES, FINISH),
        Do(RIGHT, 16),
        Do(BPF_RET | BPF_A, 0),
        Here(Place::Nothing),
        Do(BPF_RET | BPF_K, 0),
    ]);
    steps
}

fn ipv4(steps: &mut Vec<Step>) {
    steps.extend([
        Here(Place::Ipv4),
        Do(BYTE, 9),
        Unless(1, Place::PlainIpv4),
        Do(KEEP_X, BASE),
        Do(BYTE, 0),
        Do(MASK, 15),
        Do(LEFT, 2),
        Do(PLUS_X, 0),
        Do(TO_X, 0),
        Do(BYTE, 0),
    ]);
    steps.extend([3, 4, 5, 11, 12].map(|kind| If(BPF_JEQ, kind, Place::Error)));
    steps.extend([
        Do(RECALL_X, BASE),
        Go(Place::PlainIpv4),
        Here(Place::Error),
        Do(FROM_X, 0),
        Do(PLUS, 8),
        Do(TO_X, 0),
        Here(Place::PlainIpv4),
        Do(WORD, 12),
        Do(KEEP, ONE),
        Do(WORD, 16),
        Do(KEEP, OTHER),
        Go(Place::Mix),
    ]);
}

fn ipv6(steps: &mut Vec<Step>) {
    steps.extend([
        Here(Place::Ipv6),
        Do(BYTE, 6),
        Unless(58, Place::PlainIpv6),
        Do(BYTE, 40),
        If(BPF_JGE, 128, Place::PlainIpv6),
        Do(FROM_X, 0),
        Do(PLUS, 48),
        Do(TO_X, 0),
        Here(Place::PlainIpv6),
        Do(KEEP_X, BASE),
    ]);
    for (from, to) in [(8, ONE), (24, OTHER)] {
        steps.extend([Do(WORD, from), Do(TIMES, SPREAD), Do(KEEP, to)]);
        for word in 1..4 {
            steps.extend([Do(WORD, from + 4 * word), Do(RECALL_X, to), Do(PLUS_X, 0)]);
            steps.extend([Do(TIMES, SPREAD), Do(KEEP, to), Do(RECALL_X, BASE)]);
        }
    }
}

/// Gives places their numbers. Jumps lead forward only, as the kernel demands.
fn assemble(steps: &[Step]) -> Vec<sock_filter> {
    let length = |steps: &[Step]| steps.iter().filter(|step| !matches!(step, Here(_))).count();
    let far = |index: usize, place: Place| {
        let ahead = &steps[index + 1..];
        let lies = ahead
            .iter()
            .position(|step| matches!(step, Here(here) if *here == place));
        length(&ahead[..lies.unwrap_or_default()]) as u32
    };
    let one = |(index, step): (usize, &Step)| {
        let (code, jt, jf, k) = match *step {
            Do(code, k) => (code, 0, 0, k),
            If(comparison, number, place) => (BPF_JMP | comparison | BPF_K, far(index, place), 0, number),
            Unless(number, place) => (BPF_JMP | BPF_JEQ | BPF_K, 0, far(index, place), number),
            Go(place) => (BPF_JMP | BPF_JA, 0, 0, far(index, place)),
            Here(_) => return None,
        };
        Some(sock_filter {
            code: code as u16,
            jt: jt as u8,
            jf: jf as u8,
            k,
        })
    };
    steps.iter().enumerate().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    /// A packet as the kernel shows it to the program.
    struct Shown<'a> {
        bytes: &'a [u8],
        /// Where the network header is.
        network: usize,
        outgoing: bool,
        protocol: u32,
    }

    impl Shown<'_> {
        fn load(&self, at: u32, size: u32) -> Option<u32> {
            match at {
                PKT_TYPE => return Some(if self.outgoing { PACKET_OUTGOING } else { 0 }),
                PROTOCOL => return Some(self.protocol),
                _ => {}
            }
            let from = if at >= NETWORK {
                self.network + (at - NETWORK) as usize
            } else {
                at as usize + if self.outgoing { 0 } else { self.network }
            };
            let size = match size {
                BPF_B => 1,
                BPF_H => 2,
                _ => 4,
            };
            let bytes = self.bytes.get(from..from + size)?;
            Some(bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
        }
    }

    /// What the kernel does (net/core/filter.c), as far as the program asks for it.
    fn run(shown: &Shown<'_>) -> u32 {
        let program = program();
        let (mut a, mut x, mut words, mut next) = (0_u32, 0_u32, [0_u32; 16], 0);
        loop {
            let step = program[next];
            next += 1;
            let code = u32::from(step.code);
            let operand = if code & BPF_X == 0 { step.k } else { x };
            match code & 7 {
                BPF_LD if code & 0xe0 == BPF_MEM => a = words[step.k as usize],
                BPF_LD => {
                    let at = if code & 0xe0 == BPF_IND {
                        x.wrapping_add(step.k)
                    } else {
                        step.k
                    };
                    match shown.load(at, code & 0x18) {
                        Some(value) => a = value,
                        None => return 0,
                    }
                }
                BPF_LDX if code & 0xe0 == BPF_MEM => x = words[step.k as usize],
                BPF_LDX => x = step.k,
                BPF_ST => words[step.k as usize] = a,
                BPF_STX => words[step.k as usize] = x,
                BPF_ALU => {
                    a = match code & 0xf0 {
                        BPF_ADD => a.wrapping_add(operand),
                        BPF_MUL => a.wrapping_mul(operand),
                        BPF_AND => a & operand,
                        BPF_LSH => a << operand,
                        BPF_RSH => a >> operand,
                        BPF_XOR => a ^ operand,
                        other => panic!("{other:#x}"),
                    }
                }
                BPF_JMP => {
                    let holds = match code & 0xf0 {
                        BPF_JA => {
                            next += step.k as usize;
                            continue;
                        }
                        BPF_JEQ => a == step.k,
                        BPF_JGE => a >= step.k,
                        other => panic!("{other:#x}"),
                    };
                    next += usize::from(if holds { step.jt } else { step.jf });
                }
                BPF_RET => return if code & 0x18 == BPF_A { a } else { step.k },
                _ if code & 0x80 == 0 => x = a,
                _ => a = x,
            }
        }
    }

    /// What the program makes of an Ethernet frame that comes in, and that it makes the same of one that goes out.
    fn place(frame: &[u8]) -> u32 {
        let shown = |outgoing| Shown {
            bytes: frame,
            network: 14,
            outgoing,
            protocol: u32::from(u16::from_be_bytes([frame[12], frame[13]])),
        };
        let comes_in = run(&shown(false));
        assert_eq!(comes_in, run(&shown(true)));
        comes_in
    }

    fn framed(ether_type: u16, before: &[u8], packet: &[u8]) -> Vec<u8> {
        [&[2; 12], &ether_type.to_be_bytes()[..], before, packet].concat()
    }

    fn udp(from: u32, to: u32, ports: (u16, u16)) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4(from.to_be_bytes(), to.to_be_bytes(), 64)
            .udp(ports.0, ports.1)
            .write(&mut packet, b"hello")
            .unwrap();
        packet
    }

    fn udp_v6(from: u128, to: u128) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv6(from.to_be_bytes(), to.to_be_bytes(), 64)
            .udp(1, 2)
            .write(&mut packet, b"hello")
            .unwrap();
        packet
    }

    proptest! {
        #[test]
        fn a_pair_of_hosts_has_one_place(from: u32, to: u32, router: u32, ports: (u16, u16), kind in 0_u8..20) {
            let there = udp(from, to, ports);
            let plain = place(&framed(0x0800, &[], &there));
            let back = udp(to, from, (ports.1, ports.0));
            prop_assert_eq!(plain, place(&framed(0x0800, &[], &back)));
            // Tagged once, twice, and in PPPoE.
            prop_assert_eq!(plain, place(&framed(0x8100, &[0, 7, 8, 0], &back)));
            prop_assert_eq!(plain, place(&framed(0x88a8, &[0, 7, 0x81, 0, 0, 9, 8, 0], &back)));
            prop_assert_eq!(plain, place(&framed(0x8864, &[0x11, 0, 0, 1, 0, 40, 0, 0x21], &back)));
            // A fragment without ports, with an option before what would be ICMP.
            let mut fragment = there.clone();
            fragment[6] = 0x20;
            fragment[7] = 9;
            prop_assert_eq!(plain, place(&framed(0x0800, &[], &fragment)));
            // An error about it from a third, and a message that is none.
            let mut error = Vec::new();
            PacketBuilder::ipv4(router.to_be_bytes(), from.to_be_bytes(), 64)
                .icmpv4_raw(kind, 1, [0; 4])
                .write(&mut error, &there)
                .unwrap();
            let third = place(&framed(0x0800, &[], &udp(router, from, ports)));
            let expected = if matches!(kind, 3 | 4 | 5 | 11 | 12) { plain } else { third };
            prop_assert_eq!(expected, place(&framed(0x0800, &[], &error)));
        }

        #[test]
        fn a_pair_of_ipv6_hosts_has_one_place(from: u128, to: u128, router: u128, kind in 1_u8..=255) {
            let there = udp_v6(from, to);
            let plain = place(&framed(0x86dd, &[], &there));
            prop_assert_eq!(plain, place(&framed(0x86dd, &[], &udp_v6(to, from))));
            prop_assert_eq!(plain, place(&framed(0x8864, &[0x11, 0, 0, 1, 0, 40, 0, 0x57], &udp_v6(to, from))));
            let mut error = Vec::new();
            PacketBuilder::ipv6(router.to_be_bytes(), from.to_be_bytes(), 64)
                .icmpv6_raw(kind, 1, [0; 4])
                .write(&mut error, &there)
                .unwrap();
            let third = place(&framed(0x86dd, &[], &udp_v6(router, from)));
            prop_assert_eq!(if kind < 128 { plain } else { third }, place(&framed(0x86dd, &[], &error)));
        }

        #[test]
        fn nothing_makes_it_stumble(bytes in proptest::collection::vec(any::<u8>(), 14..80)) {
            place(&bytes);
        }
    }

    #[test]
    fn neighbouring_hosts_are_spread() {
        let base = u32::from(Ipv4Addr::new(10, 0, 0, 1));
        let server = u32::from(Ipv4Addr::new(203, 0, 113, 1));
        let v6 = |text: &str| u128::from(text.parse::<Ipv6Addr>().unwrap());
        for sockets in [2, 3, 4, 7, 8, 16] {
            let mut counts = vec![0_u32; sockets as usize];
            for client in 0..64 {
                for other in 0..16 {
                    counts[(place(&framed(0x0800, &[], &udp(base + client, server + other, (1, 2)))) % sockets)
                        as usize] += 1;
                    let packet = udp_v6(
                        v6("2001:db8::1") + u128::from(client),
                        v6("2a0d:8888::10") + (u128::from(other) << 64),
                    );
                    counts[(place(&framed(0x86dd, &[], &packet)) % sockets) as usize] += 1;
                }
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*most < least * 2, "{counts:?}");
        }
    }

    #[test]
    fn jumps_are_near_and_the_end_is_reached() {
        let program = program();
        assert!(program.len() < 200, "{}", program.len());
        let jumps = steps()
            .iter()
            .filter(|step| matches!(step, If(..) | Unless(..) | Go(_)))
            .count();
        assert!(jumps > 20);
        for step in steps() {
            let place = match step {
                If(_, _, place) | Unless(_, place) | Go(place) => place,
                Do(..) | Here(_) => continue,
            };
            let there = steps()
                .iter()
                .filter(|step| matches!(step, Here(here) if *here == place))
                .count();
            assert_eq!(there, 1, "{place:?}");
        }
        assert_eq!(u32::from(program.last().unwrap().code) & 7, BPF_RET);
    }
}

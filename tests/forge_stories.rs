//! What the forge promises beyond repeatable bytes: documented constants arrive on the wire as documented, shifting and
//! renumbering change what they say and nothing else, the truth names what was done.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use blockscope::scenario::{DropCause, ForgeOptions, Forged, Making, Renumbering, Story, forge_with_truth};

fn story(name: &str) -> Story {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
        .join("story.toml");
    Story::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

fn told(name: &str) -> (Vec<Frame>, Forged) {
    let forged = forge_with_truth(&story(name), &ForgeOptions::default()).unwrap();
    (frames(&forged.pcap), forged)
}

/// One frame, read by hand: a reader of its own, so that the test trusts nobody.
#[derive(Clone, Debug)]
struct Frame {
    micros: u64,
    bytes: Vec<u8>,
    wire_len: usize,
}

fn frames(pcap: &[u8]) -> Vec<Frame> {
    let word = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(20)), (0xA1B2_C3D4, 1));
    let (mut at, mut frames) = (24, Vec::new());
    while at < pcap.len() {
        let kept = word(at + 8) as usize;
        frames.push(Frame {
            micros: u64::from(word(at)) * 1_000_000 + u64::from(word(at + 4)),
            bytes: pcap[at + 16..at + 16 + kept].to_vec(),
            wire_len: word(at + 12) as usize,
        });
        at += 16 + kept;
    }
    frames
}

impl Frame {
    fn ip(&self) -> &[u8] {
        &self.bytes[14..]
    }
    fn src(&self) -> IpAddr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.ip()[12..16]).unwrap()).into()
    }
    fn dst(&self) -> IpAddr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.ip()[16..20]).unwrap()).into()
    }
    fn ttl(&self) -> u8 {
        self.ip()[8]
    }
    fn id(&self) -> u16 {
        u16::from_be_bytes([self.ip()[4], self.ip()[5]])
    }
    fn dont_fragment(&self) -> bool {
        self.ip()[6] & 0x40 != 0
    }
    fn tcp(&self) -> &[u8] {
        assert_eq!(self.ip()[9], 6, "TCP");
        let total = usize::from(u16::from_be_bytes([self.ip()[2], self.ip()[3]]));
        &self.ip()[20..total]
    }
    fn seq(&self) -> u32 {
        u32::from_be_bytes(self.tcp()[4..8].try_into().unwrap())
    }
    fn ack(&self) -> u32 {
        u32::from_be_bytes(self.tcp()[8..12].try_into().unwrap())
    }
    fn flags(&self) -> u8 {
        self.tcp()[13]
    }
    fn window(&self) -> u16 {
        u16::from_be_bytes([self.tcp()[14], self.tcp()[15]])
    }
    fn payload(&self) -> &[u8] {
        &self.tcp()[usize::from(self.tcp()[12] >> 4) * 4..]
    }
}

/// The forged frames of a fixture, with the frame that set each off.
fn forgeries(name: &str) -> Vec<(Frame, Frame)> {
    let (frames, forged) = told(name);
    forged
        .truth
        .frames
        .iter()
        .filter_map(|frame| match frame.making {
            Making::Forged { trigger } | Making::Rewritten { trigger } => Some((
                frames[frame.number as usize - 1].clone(),
                frames[trigger? as usize - 1].clone(),
            )),
            Making::Genuine => None,
        })
        .collect()
}

const RST: u8 = 0x04;
const RST_ACK: u8 = 0x14;

#[test]
fn stepped_resets_come_at_0_1460_and_4380_with_window_and_ttl_in_lock_step() {
    let forged = forgeries("gfw-rst-triple-stepped");
    assert_eq!(forged.len() % 3, 0);
    for burst in forged.chunks(3) {
        let (first, trigger) = &burst[0];
        assert_eq!(first.seq(), trigger.ack());
        for ((frame, _), step) in burst.iter().zip([0, 1460, 4380]) {
            assert_eq!(frame.seq(), first.seq().wrapping_add(step));
            assert_eq!(
                (frame.flags(), frame.window() - u16::from(frame.ttl())),
                (RST_ACK, 4164)
            );
        }
    }
}

#[test]
fn identical_resets_are_identical_and_their_bursts_keep_window_minus_ttl() {
    for burst in forgeries("gfw-rst-triple-same-seq").chunks(3) {
        assert!(burst.iter().all(|(frame, _)| frame.bytes == burst[0].0.bytes));
        let frame = &burst[0].0;
        assert_eq!(
            (frame.window() - u16::from(frame.ttl()), frame.dont_fragment()),
            (1375, true)
        );
        assert!(burst[2].0.micros - burst[0].0.micros < 1500);
    }
}

#[test]
fn each_device_leaves_its_documented_fingerprint() {
    for (frame, trigger) in forgeries("henan-rst-payload") {
        assert_eq!(
            (frame.flags(), frame.id(), frame.payload()),
            (RST_ACK, 1, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 0][..])
        );
        assert_eq!(trigger.tcp()[12] >> 4, 5, "set off by a bare header only");
    }
    for pair in forgeries("sandvine-rst-pair").chunks(2) {
        assert_eq!(pair[1].0.seq().wrapping_sub(pair[0].0.seq()), 12_503);
        assert_eq!(pair[1].0.id().wrapping_sub(pair[0].0.id()), 1);
    }
    for (frame, _) in forgeries("tm-dns-and-rst") {
        assert_eq!((frame.id(), frame.ttl(), frame.dont_fragment()), (30_000, 126, false));
    }
    for (frame, _) in forgeries("in-airtel-page") {
        assert_eq!((frame.id(), frame.flags()), (242, 0x19));
    }
    for (frame, _) in forgeries("packetlogic-307") {
        assert_eq!((frame.id(), frame.flags()), (0x3412, 0x11));
    }
    for pair in forgeries("pk-surf-safely").chunks(2) {
        let (page, reset) = (&pair[0].0, &pair[1].0);
        assert_eq!(
            (page.flags(), page.payload().len(), page.ttl(), page.window()),
            (0x11, 553, 83, 16_384)
        );
        assert_eq!(
            (reset.flags(), reset.ttl(), reset.id()),
            (RST, 47, page.id().wrapping_add(1))
        );
        assert_eq!((page.ip()[1] >> 2, reset.ip()[1] >> 2), (10, 10));
    }
    for (frame, trigger) in forgeries("rst-header-reflecting") {
        if frame.tcp()[12] & 0x0F == 0 {
            assert_eq!((frame.id(), frame.ack()), (trigger.id().wrapping_add(1), trigger.seq()));
            assert_eq!((frame.window(), frame.flags()), (trigger.window(), RST));
        } else {
            assert_eq!(
                (frame.id(), frame.window(), frame.tcp()[12]),
                (trigger.id(), 65_535, 0x5F)
            );
        }
    }
    for pair in forgeries("iran-http-403-iframe").chunks(2) {
        assert_eq!((pair[0].0.flags(), pair[0].0.payload().len()), (0x19, 403));
        assert_eq!(pair[1].0.flags(), 0x1C);
    }
}

#[test]
fn a_mimicking_reset_arrives_with_the_servers_ttl() {
    let (frames, _) = told("rst-single-ttl-mimicry");
    for (frame, _) in forgeries("rst-single-ttl-mimicry") {
        let genuine = frames
            .iter()
            .find(|other| other.src() == frame.src() && other.flags() == 0x12)
            .unwrap();
        assert_eq!(frame.ttl(), genuine.ttl());
    }
}

#[test]
fn a_silent_filter_leaves_no_forged_frame_and_takes_every_request_for_the_platform() {
    let (frames, forged) = told("kz-livejournal-2008");
    assert!(forged.truth.forged().is_empty());
    let taken: Vec<u64> = forged
        .truth
        .dropped
        .iter()
        .filter(|dropped| dropped.cause == DropCause::Equipment("silent filter".into()))
        .map(|dropped| dropped.number)
        .collect();
    let operator_client = |frame: &Frame| frame.src().to_string().starts_with("10.40.");
    for (index, frame) in frames.iter().enumerate().filter(|(_, frame)| frame.ip()[9] == 6) {
        let text = String::from_utf8_lossy(frame.payload());
        if text.contains("livejournal.com\r\n") {
            assert_eq!(
                taken.contains(&(index as u64 + 1)),
                operator_client(frame),
                "frame {}",
                index + 1
            );
        }
    }
    assert!(taken.len() > 20, "requests and their repetitions: {}", taken.len());
}

#[test]
fn shifting_moves_every_frame_by_the_same_time() {
    let story = story("gfw-dns-triplet");
    let base = frames(&forge_with_truth(&story, &ForgeOptions::default()).unwrap().pcap);
    let shift = Duration::from_secs(3600);
    let later = frames(
        &forge_with_truth(
            &story,
            &ForgeOptions {
                shift,
                ..ForgeOptions::default()
            },
        )
        .unwrap()
        .pcap,
    );
    assert_eq!(base.len(), later.len());
    assert!(
        base.iter()
            .zip(&later)
            .all(|(base, later)| later.micros - base.micros == 3_600_000_000)
    );
}

#[test]
fn renumbering_changes_addresses_consistently_and_nothing_else_about_the_frames() {
    let story = story("gfw-rst-triple-stepped");
    let mapping = Renumbering::of_story(&story);
    let base = forge_with_truth(&story, &ForgeOptions::default()).unwrap();
    let moved = forge_with_truth(
        &story,
        &ForgeOptions {
            renumber: true,
            ..ForgeOptions::default()
        },
    )
    .unwrap();
    assert_eq!(base.truth, moved.truth);
    for (base, moved) in frames(&base.pcap).iter().zip(&frames(&moved.pcap)) {
        assert_eq!(
            (moved.src(), moved.dst()),
            (mapping.of(base.src()), mapping.of(base.dst()))
        );
        assert_ne!(moved.src(), base.src());
        assert_eq!(
            (moved.micros, moved.wire_len, moved.ttl(), moved.id()),
            (base.micros, base.wire_len, base.ttl(), base.id())
        );
    }
}

#[test]
fn without_equipment_the_forbidden_names_are_served() {
    let bare = ForgeOptions {
        without_equipment: true,
        ..ForgeOptions::default()
    };
    let forged = forge_with_truth(&story("in-airtel-page"), &bare).unwrap();
    let pages = frames(&forged.pcap)
        .iter()
        .filter(|frame| frame.ip()[9] == 6 && frame.payload().starts_with(b"HTTP/1.1 200 OK\r\nServer: nginx"))
        .count();
    let asked = frames(&forged.pcap)
        .iter()
        .filter(|frame| frame.ip()[9] == 6 && frame.payload().starts_with(b"GET "))
        .count();
    assert_eq!(pages, asked);
    assert!(forged.truth.dropped.is_empty());
}

#[test]
fn the_copy_of_a_mirrored_packet_has_lost_one_hop() {
    let (frames, forged) = told("benign-mirror-duplicates");
    let copies: Vec<_> = forged
        .truth
        .frames
        .iter()
        .filter_map(|frame| Some((frame.number, frame.copy_of?)))
        .collect();
    assert!(copies.len() * 2 >= frames.len() - 2);
    for (copy, original) in copies {
        let (copy, original) = (&frames[copy as usize - 1], &frames[original as usize - 1]);
        assert_eq!((copy.ttl() + 1, copy.id()), (original.ttl(), original.id()));
    }
}

//! A link with a delay, a router's hop and equipment: two interfaces, and this process between them.
//!
//! Packets wait in a queue by the time they are due, never in a sleep; what is injected stands in the same queue, so the
//! order in which things leave does not depend on how busy the machine is. Frames that are not IP (ARP) pass as they
//! are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blockscope::scenario::on_wire::{OnWire, WireFate};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use pcap::{Active, Capture, Direction};

use crate::frames::{self, ETHERNET};

/// Frames on their way between the threads that read and the one that sends.
const WAITING: usize = 65_536;

/// What happens to packets of one address by mere bad luck, as one would have a network emulator do.
#[derive(Clone, Debug, Default)]
struct Mishap {
    address: Vec<u8>,
    loss: f64,
    duplicate: f64,
    reorder: f64,
}

/// `relay NAME INSIDE OUTSIDE EQUIPMENT DELAY_US [ADDRESS:LOSS:DUPLICATE:REORDER …]`
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let [name, inside, outside, equipment, delay, rest @ ..] = arguments else {
        return Err("relay: arguments are missing".into());
    };
    let text = fs::read_to_string(equipment).map_err(|error| format!("{equipment}: {error}"))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let seed = std::env::var("BLOCKSCOPE_TESTBED_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(7);
    let delay: u64 = delay.parse().map_err(|_| "relay: no delay")?;
    let link = OnWire::install(&text, name, seed, now).map_err(|error| error.to_string())?;
    let mishaps = rest.iter().map(|text| mishap(text)).collect::<Result<_, _>>()?;
    let (sender, frames) = bounded(WAITING);
    let mut ports = Vec::new();
    for (port, interface) in [inside, outside].into_iter().enumerate() {
        let reader = open(interface)?;
        reader.direction(Direction::In).map_err(|error| error.to_string())?;
        let mut writer = open(interface)?;
        // It only sends: an expression that no frame meets keeps its ring empty.
        writer
            .filter("less 1 and greater 1000", true)
            .map_err(|error| error.to_string())?;
        ports.push(writer);
        let sender = sender.clone();
        thread::spawn(move || read(reader, port, &sender));
    }
    println!("ready");
    let _ = std::io::stdout().flush();
    let relay = Relay {
        link,
        ports,
        delay: Duration::from_micros(delay),
        start: None,
        queue: BinaryHeap::new(),
        number: 0,
        headers: [None, None],
        mishaps,
        luck: seed | 1,
    };
    relay.forward(&frames)
}

fn mishap(text: &str) -> Result<Mishap, String> {
    let wrong = || format!("relay: {text} is no ADDRESS:LOSS:DUPLICATE:REORDER");
    let parts: Vec<&str> = text.split(':').collect();
    let [address, loss, duplicate, reorder] = parts[..] else {
        return Err(wrong());
    };
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let share = |text: &str| text.parse::<f64>().map_err(|_| wrong());
    Ok(Mishap {
        address: address.octets().to_vec(),
        loss: share(loss)?,
        duplicate: share(duplicate)?,
        reorder: share(reorder)?,
    })
}

fn open(interface: &str) -> Result<Capture<Active>, String> {
    let wrong = |error: pcap::Error| format!("{interface}: {error}");
    Capture::from_device(interface)
        .map_err(wrong)?
        .promisc(true)
        .immediate_mode(true)
        .snaplen(65_535)
        .buffer_size(8 << 20)
        .timeout(1000)
        .open()
        .map_err(wrong)
}

struct Frame {
    port: usize,
    at: Instant,
    bytes: Vec<u8>,
}

fn read(mut capture: Capture<Active>, port: usize, to: &Sender<Frame>) {
    loop {
        match capture.next_packet() {
            Ok(packet) => {
                let frame = Frame {
                    port,
                    at: Instant::now(),
                    bytes: packet.data.to_vec(),
                };
                if to.send(frame).is_err() {
                    return;
                }
            }
            Err(pcap::Error::TimeoutExpired) => {}
            Err(_) => return,
        }
    }
}

/// A frame that waits to leave: when, in which order, by which port.
type Due = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Relay {
    link: OnWire,
    ports: Vec<Capture<Active>>,
    delay: Duration,
    /// When the first packet came, from which equipment counts the time.
    start: Option<Instant>,
    queue: BinaryHeap<Due>,
    number: u64,
    /// The Ethernet headers with which frames leave each port.
    headers: [Option<[u8; ETHERNET]>; 2],
    mishaps: Vec<Mishap>,
    luck: u64,
}

impl Relay {
    fn forward(mut self, frames: &Receiver<Frame>) -> Result<(), String> {
        loop {
            let now = Instant::now();
            while let Some(Reverse((due, ..))) = self.queue.peek() {
                if *due > now {
                    break;
                }
                if let Some(Reverse((_, _, port, bytes))) = self.queue.pop() {
                    // A full queue of the interface loses the frame, as on any link.
                    let _ = self.ports[port].sendpacket(bytes);
                }
            }
            let wait = match self.queue.peek() {
                Some(Reverse((due, ..))) => due.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(1),
            };
            match frames.recv_timeout(wait) {
                Ok(frame) => self.take(frame),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("an interface is gone".into()),
            }
        }
    }

    fn leave(&mut self, due: Instant, port: usize, bytes: Vec<u8>) {
        self.number += 1;
        self.queue.push(Reverse((due, self.number, port, bytes)));
    }

    /// A number from 0 to 1: xorshift, which is chance enough for a bad line.
    fn draw(&mut self) -> f64 {
        self.luck ^= self.luck << 13;
        self.luck ^= self.luck >> 7;
        self.luck ^= self.luck << 17;
        (self.luck >> 11) as f64 / (1u64 << 53) as f64
    }

    fn take(&mut self, frame: Frame) {
        let onward = 1 - frame.port;
        let due = frame.at + self.delay;
        let ip = frames::split(&frame.bytes).filter(|(_, packet)| !frames::stays_on_the_link(packet));
        let Some((header, packet)) = ip else {
            self.leave(due, onward, frame.bytes);
            return;
        };
        // What a host sends to all is no way to reach it.
        if header[0] & 1 == 0 {
            let mut back = header;
            back[..6].copy_from_slice(&header[6..12]);
            back[6..12].copy_from_slice(&header[..6]);
            back[12..].fill(0);
            self.headers[frame.port] = Some(back);
            let mut ahead = header;
            ahead[12..].fill(0);
            self.headers[onward] = Some(ahead);
        } else {
            self.leave(due, onward, frame.bytes);
            return;
        }
        let start = *self.start.get_or_insert(frame.at);
        let acts = self.link.see(packet, frame.at.saturating_duration_since(start));
        for injection in acts.injections {
            let with_it = frames::destination(&injection.packet) == frames::destination(packet);
            let (port, when) = if with_it {
                (onward, due + injection.after)
            } else {
                (frame.port, frame.at + injection.after)
            };
            if let Some(header) = self.headers[port] {
                self.leave(when, port, frames::join(header, &injection.packet));
            }
        }
        let (mut packet, due) = match acts.fate {
            WireFate::Pass => (packet.to_vec(), due),
            WireFate::Drop => return,
            WireFate::Hold(wait) => (packet.to_vec(), due + wait),
            WireFate::Rewrite(packet) => (packet, due),
        };
        if !frames::hop(&mut packet) {
            return;
        }
        let hit = self
            .mishaps
            .iter()
            .find(|mishap| frames::concerns(&packet, &mishap.address))
            .cloned();
        let bytes = frames::join(header, &packet);
        if let Some(mishap) = hit {
            if self.draw() < mishap.loss {
                return;
            }
            if self.draw() < mishap.duplicate {
                self.leave(due, onward, bytes.clone());
            }
            if self.draw() < mishap.reorder {
                self.leave(due + Duration::from_millis(4), onward, bytes);
                return;
            }
        }
        self.leave(due, onward, bytes);
    }
}

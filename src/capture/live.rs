//! Live interfaces, through libpcap: one capture an interface, all of them read by one thread without blocking; or
//! several captures an interface, each with the packets of pairs of hosts of its own, and each read by a thread of its own
//! ([`LiveSource::open_fanned`]).
//!
//! Each interface stands where a file stands otherwise: frames are numbered per interface, and its [`FileNote`] counts
//! what was read and what was lost. libpcap keeps packets in a ring the kernel writes to; a batch copies them out. A read
//! on a silent link would block for ever whatever timeout is asked for, so captures are non-blocking and waited for
//! with `poll`: on a silent link [`Supply::Quiet`] is supplied about ten times a second. Immediate mode is left off unless asked
//! for: it costs the block ring and loses packets under load.
//!
//! An interface that goes down is waited for. One that disappears is opened again when it is back, if this process may
//! still open one ([`Reopening`]); if none is left that packets could come from, that is an error and the end. All of it
//! is said.

#[cfg(target_os = "linux")]
mod fan;
#[cfg(not(target_os = "linux"))]
#[path = "live/fan_elsewhere.rs"]
mod fan;
#[cfg(target_os = "linux")]
mod fan_program;
#[cfg(target_os = "linux")]
mod link_state;
#[cfg(not(target_os = "linux"))]
#[path = "live/link_state_elsewhere.rs"]
mod link_state;

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use pcap::{Active, Capture, Device, Precision, Stat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::fan::{Fan, Refused};
use self::link_state::{LinkState, LinkStates};
use super::error::CaptureError;
use super::source::{FileNote, Origin, Progress, Record, RecordBatch, Source, Supply};
use crate::packet::frame::{FrameNumber, LinkType};
use crate::time::Timestamp;

/// Frames and bytes a batch holds at the most: as many as a worker's task, and a block of libpcap's ring.
const MOST_FRAMES: usize = 512;
const MOST_BYTES: usize = 1 << 20;

/// How long a partly filled block of the ring waits for more packets, in milliseconds: short enough for findings to be
/// out in time, long enough for a busy link to fill it.
const BLOCK_WAIT_MS: i32 = 20;

/// How long to wait for packets before saying that there are none, in nanoseconds. A thread that reads one of several
/// sockets is asked for what it found, and must be heard of sooner.
const POLL_WAIT_NS: i64 = 100_000_000;
const FANNED_POLL_WAIT_NS: i64 = 20_000_000;

/// After so long a quiet, in nanoseconds, or so many busy supplies the interfaces are looked after.
const QUIET_NS: i64 = 1_000_000_000;
const BUSY_ROUNDS: u32 = 64;

/// How often interfaces are looked after until packets from before they were shared out are gone.
const SETTLED_AFTER: u32 = 3;

/// DLT numbers that libpcap hands out live and whose LINKTYPE number is another (pcap/dlt.h): raw IP.
const DLT_RAW: i32 = 12;

/// Whether an interface is told to pass on packets for other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promiscuity {
    /// What the interface passes on anyway (a SPAN port or an uplink needs no more as a rule).
    AsItIs,
    /// Everything it sees.
    Everything,
}

/// When packets are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// When a block of the ring is full, or 20 ms after its first packet.
    Batched,
    /// One by one, as they come.
    Immediate,
}

/// Whether an interface that was deleted can be opened again when one of its name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopening {
    /// The process keeps what it takes.
    Possible,
    /// It does not.
    Impossible,
}

/// The name of all interfaces together, which no interface has.
const ANY: &str = "any";

/// How interfaces are captured from.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// A pcap-filter(7) expression, applied in the kernel.
    pub filter: Option<String>,
    /// Bytes kept of a packet, at the most.
    pub snaplen: u32,
    /// Which packets the interface passes on.
    pub promiscuity: Promiscuity,
    /// The ring of one interface, in MiB.
    pub buffer_mib: u32,
    /// When packets are handed over.
    pub delivery: Delivery,
    /// What becomes of an interface that was deleted.
    pub reopening: Reopening,
}

impl Default for LiveSettings {
    /// Whole packets (tcpdump's 256 KiB), a ring of 64 MiB, the interface as it is, batched.
    fn default() -> Self {
        Self {
            filter: None,
            snaplen: 1 << 18,
            promiscuity: Promiscuity::AsItIs,
            buffer_mib: 64,
            delivery: Delivery::Batched,
            reopening: Reopening::Possible,
        }
    }
}

/// The packets of some interfaces, as they come.
pub struct LiveSource {
    taps: Vec<Tap>,
    settings: LiveSettings,
    links: LinkStates,
    /// Whether the end was told as an error.
    over: bool,
    notes: Vec<FileNote>,
    /// Whose turn it is to be read first.
    turn: usize,
    /// How long it waits for packets at a time, and has waited since the interfaces were looked after, in nanoseconds.
    patience: i64,
    quiet: i64,
    busy: u32,
    bytes_read: u64,
}

/// One interface.
struct Tap {
    name: String,
    /// None while it is gone.
    open: Option<Open>,
    state: State,
    /// Whether packets can come from it, for whoever asks.
    up: Arc<AtomicBool>,
    /// Frames of it that were given numbers, by all who read it.
    numbered: Arc<AtomicU64>,
    seat: Seat,
}

/// Whether a source reads all packets of an interface or shares them with others.
#[derive(Clone, Debug)]
enum Seat {
    Alone,
    Among {
        fan: Arc<Fan>,
        /// Of all sources that share an interface, one speaks for it.
        speaks: bool,
        seats: u32,
    },
}

impl Seat {
    const fn speaks(&self) -> bool {
        matches!(self, Self::Alone | Self::Among { speaks: true, .. })
    }
}

impl Tap {
    fn set(&mut self, state: State) {
        self.state = state;
        self.up.store(state == State::Up, Ordering::Relaxed);
    }
}

/// Tells from another thread whether packets can come from an interface.
#[derive(Clone, Debug)]
pub struct TapLight {
    name: String,
    up: Arc<AtomicBool>,
}

impl TapLight {
    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether packets can come from it: it is open, there and up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

/// An open capture.
struct Open {
    capture: Capture<Active>,
    link: LinkType,
    /// What its counters (32 bits, they wrap) said last.
    counted: (u32, u32),
    /// Packets from before they were shared out may still come, until interfaces were looked after so many times: a
    /// clock that is set back meanwhile must not have all packets taken for such.
    unshared: u32,
}

/// What was last said of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Gone,
}

impl LiveSource {
    /// Captures from `interfaces` (`any` is all of them) as `settings` have it.
    ///
    /// # Errors
    /// An interface that does not exist, is not up, or must not be captured from; a filter that does not compile;
    /// libpcap is not installed.
    pub fn open(interfaces: &[String], settings: LiveSettings) -> Result<Self, CaptureError> {
        let alone = |name: &String| (name.clone(), Seat::Alone, Arc::default());
        Self::seated(interfaces.iter().map(alone).collect(), settings, POLL_WAIT_NS)
    }

    /// Captures from `interfaces` with so many sources side by side, each to be read by a thread of its own. All packets
    /// between two hosts come from one of them, ICMP errors about these and fragments included; each packet comes from
    /// one, and the ring is divided among them. Frame numbers are given in the order in which sources are read: what one
    /// source supplies is numbered in order, and of packets of two sources the one read first has the lower number.
    /// `clock` tells the time the kernel stamps packets with.
    ///
    /// # Errors
    /// As for [`Self::open`]; [`CaptureError::NotShared`] where the kernel cannot share packets out among sockets.
    pub fn open_fanned(
        interfaces: &[String],
        settings: &LiveSettings,
        seats: NonZeroUsize,
        clock: fn() -> Timestamp,
    ) -> Result<Vec<Self>, CaptureError> {
        let fans: Vec<_> = interfaces
            .iter()
            .map(|_| (Arc::new(Fan::new(seats.get(), clock)), Arc::<AtomicU64>::default()))
            .collect();
        let seat = |index| {
            let seat = |(name, (fan, numbered)): (&String, &(Arc<Fan>, Arc<AtomicU64>))| {
                let seat = Seat::Among {
                    fan: Arc::clone(fan),
                    speaks: index == 0,
                    seats: u32::try_from(seats.get()).unwrap_or(u32::MAX),
                };
                (name.clone(), seat, Arc::clone(numbered))
            };
            let taps = interfaces.iter().zip(&fans).map(seat).collect();
            Self::seated(taps, settings.clone(), FANNED_POLL_WAIT_NS)
        };
        (0..seats.get()).map(seat).collect()
    }

    fn seated(
        seats: Vec<(String, Seat, Arc<AtomicU64>)>,
        settings: LiveSettings,
        patience: i64,
    ) -> Result<Self, CaptureError> {
        let mut taps = Vec::new();
        let mut notes = Vec::new();
        for (name, seat, numbered) in seats {
            notes.push(FileNote {
                path: name.as_str().into(),
                origin: Origin::Interface,
                ..FileNote::default()
            });
            taps.push(Tap {
                open: Some(Open::new(&name, &settings, &seat)?),
                name,
                state: State::Up,
                up: Arc::new(AtomicBool::new(true)),
                numbered,
                seat,
            });
        }
        let links = LinkStates::open().map_err(|error| CaptureError::Interface {
            name: "interfaces".to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self {
            taps,
            settings,
            links,
            over: false,
            notes,
            turn: 0,
            patience,
            quiet: 0,
            busy: 0,
            bytes_read: 0,
        })
    }

    /// Tells how the interfaces stand, each as long as it is kept.
    #[must_use]
    pub fn lights(&self) -> Vec<TapLight> {
        let light = |tap: &Tap| TapLight {
            name: tap.name.clone(),
            up: Arc::clone(&tap.up),
        };
        self.taps.iter().map(light).collect()
    }

    /// Takes what one interface has, the others first the next time.
    fn drain(&mut self, batch: &mut RecordBatch) -> bool {
        for _ in 0..self.taps.len() {
            let index = self.turn;
            self.turn = (index + 1) % self.taps.len();
            let tap = &mut self.taps[index];
            let Some(open) = &mut tap.open else { continue };
            let mut bytes = BytesMut::new();
            let outcome = open.drain(&tap.seat, &mut bytes, &mut batch.records);
            let read = batch.records.len() as u64;
            self.notes[index].frames += read;
            let before = tap.numbered.fetch_add(read, Ordering::Relaxed);
            for (number, record) in (before + 1..).zip(&mut batch.records) {
                record.number = FrameNumber::new(index as u32, number);
            }
            if let Err(why) = outcome {
                // Its counters are lost with it: what they said last is kept.
                match self.settings.reopening {
                    _ if !tap.seat.speaks() => {}
                    Reopening::Possible => {
                        tracing::warn!("interface {} cannot be read any more: {why}; waiting for it", tap.name);
                    }
                    Reopening::Impossible => tracing::error!(
                        "interface {} cannot be read any more: {why}; it was deleted, and without cap_net_raw one of \
                         that name cannot be opened again (see --keep-net-raw)",
                        tap.name
                    ),
                }
                tap.open = None;
                if let Seat::Among { fan, .. } = &tap.seat {
                    fan.leave();
                }
                tap.set(State::Gone);
            }
            if !batch.records.is_empty() {
                self.bytes_read += bytes.len() as u64;
                batch.bytes = bytes.freeze();
                return true;
            }
        }
        false
    }

    /// Waits until an interface has something, or as long as its patience is.
    fn wait(&self) {
        let open = self.taps.iter().filter_map(|tap| tap.open.as_ref());
        let mut ready: Vec<PollFd<'_>> = open
            .map(|open| PollFd::from_borrowed_fd(open.capture.as_fd(), PollFlags::IN))
            .collect();
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: self.patience,
        };
        // A signal or a broken descriptor ends the wait; reading tells which.
        let ended = poll(&mut ready, Some(&patience));
        let broken = ready.iter().any(|fd| fd.revents().contains(PollFlags::ERR));
        if broken && ended.is_ok() {
            // An interface that is down is readable at once, again and again.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Counts what was lost, and sees who went down, disappeared or came back.
    fn look_after(&mut self) {
        (self.quiet, self.busy) = (0, 0);
        self.count_losses();
        for tap in &mut self.taps {
            if tap.open.is_none() {
                if self.settings.reopening == Reopening::Possible
                    && let Ok(open) = Open::new(&tap.name, &self.settings, &tap.seat)
                {
                    tap.open = Some(open);
                    tap.set(State::Up);
                    if tap.seat.speaks() {
                        tracing::warn!("interface {} is back", tap.name);
                    }
                }
                continue;
            }
            if let (Some(open), Seat::Among { fan, .. }) = (&mut tap.open, &tap.seat)
                && fan.since().is_some()
            {
                open.unshared = open.unshared.saturating_sub(1);
            }
            if tap.name == ANY || !tap.seat.speaks() {
                continue;
            }
            match (tap.state, self.links.of(&tap.name)) {
                (State::Up, Some(LinkState::Down)) => {
                    tracing::warn!("interface {} went down; waiting for it", tap.name);
                    tap.set(State::Down);
                }
                (State::Down | State::Gone, Some(LinkState::Up)) => {
                    tracing::warn!("interface {} is up again", tap.name);
                    tap.set(State::Up);
                }
                // What is absent shows when it is read.
                (State::Up, Some(LinkState::Up))
                | (State::Down | State::Gone, Some(LinkState::Down))
                | (_, Some(LinkState::Absent) | None) => {}
            }
        }
    }

    /// Whether no packet can come any more.
    fn is_over(&self) -> bool {
        self.settings.reopening == Reopening::Impossible && self.taps.iter().all(|tap| tap.open.is_none())
    }

    fn count_losses(&mut self) {
        for (tap, note) in self.taps.iter_mut().zip(&mut self.notes) {
            let Some(open) = &mut tap.open else { continue };
            let Ok(Stat {
                dropped, if_dropped, ..
            }) = open.capture.stats()
            else {
                continue;
            };
            note.lost.kernel += u64::from(dropped.wrapping_sub(open.counted.0));
            // All sockets of an interface are told the same of it.
            if tap.seat.speaks() {
                note.lost.interface += u64::from(if_dropped.wrapping_sub(open.counted.1));
            }
            open.counted = (dropped, if_dropped);
        }
    }
}

impl std::fmt::Debug for LiveSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveSource")
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl Source for LiveSource {
    /// An interface that is gone is waited for. Only when all are gone for good that is an error, and then the end.
    fn supply(&mut self, batch: &mut RecordBatch) -> Result<Supply, CaptureError> {
        batch.records.clear();
        batch.bytes = Bytes::new();
        if self.over {
            return Ok(Supply::End);
        }
        if self.is_over() {
            self.over = true;
            let names: Vec<_> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
            return Err(CaptureError::Interface {
                name: names.join(", "),
                why: "deleted while it was watched, so nothing more can be seen".to_owned(),
            });
        }
        if self.quiet >= QUIET_NS || self.busy >= BUSY_ROUNDS {
            self.look_after();
        }
        let mut any = self.drain(batch);
        if !any {
            self.wait();
            any = self.drain(batch);
        }
        if any {
            self.busy += 1;
            Ok(Supply::Records)
        } else {
            self.quiet += self.patience;
            self.count_losses();
            Ok(Supply::Quiet)
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes_read: self.bytes_read,
            bytes_total: None,
        }
    }

    fn files(&self) -> &[FileNote] {
        &self.notes
    }
}

impl Open {
    fn new(name: &str, settings: &LiveSettings, seat: &Seat) -> Result<Self, CaptureError> {
        let ring = i64::from(settings.buffer_mib) << 20;
        match seat {
            Seat::Alone => Self::of(name, settings, ring, 0),
            Seat::Among { fan, seats, .. } => fan
                .join(
                    || Self::of(name, settings, ring / i64::from(*seats), SETTLED_AFTER).map_err(NotOpened::Itself),
                    |open| open.capture.as_fd(),
                )
                .map_err(|error| match error {
                    NotOpened::Itself(error) => error,
                    NotOpened::Fan(Refused(why)) => CaptureError::NotShared {
                        name: name.to_owned(),
                        why,
                    },
                }),
        }
    }

    fn of(name: &str, settings: &LiveSettings, ring: i64, unshared: u32) -> Result<Self, CaptureError> {
        let refused = |error: pcap::Error| refusal(name, &told(error));
        let mut capture = Capture::from_device(name)
            .map_err(refused)?
            // All interfaces together have no such mode, and libpcap calls asking for it a failure.
            .promisc(settings.promiscuity == Promiscuity::Everything && name != ANY)
            .snaplen(i32::try_from(settings.snaplen).unwrap_or(i32::MAX))
            .buffer_size(i32::try_from(ring).unwrap_or(i32::MAX))
            .timeout(BLOCK_WAIT_MS)
            .immediate_mode(settings.delivery == Delivery::Immediate)
            .precision(Precision::Nano)
            .open()
            .and_then(Capture::setnonblock)
            .map_err(refused)?;
        if let Some(expression) = &settings.filter {
            capture.filter(expression, true).map_err(|error| CaptureError::Filter {
                expression: expression.clone(),
                why: told(error),
            })?;
        }
        let link = match capture.get_datalink().0 {
            DLT_RAW => LinkType::RAW,
            dlt => LinkType(u16::try_from(dlt).unwrap_or(u16::MAX)),
        };
        Ok(Self {
            capture,
            link,
            counted: (0, 0),
            unshared,
        })
    }

    /// Copies out what has arrived, up to a batch. Frames have no numbers yet.
    fn drain(&mut self, seat: &Seat, bytes: &mut BytesMut, records: &mut Vec<Record>) -> Result<(), String> {
        let since = match seat {
            Seat::Among { fan, .. } if self.unshared > 0 => fan.since(),
            Seat::Among { .. } | Seat::Alone => None,
        };
        for _ in 0..MOST_FRAMES {
            if bytes.len() >= MOST_BYTES {
                break;
            }
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(pcap::Error::TimeoutExpired) => break,
                Err(error) => return Err(told(error)),
            };
            // With nanosecond precision the second field counts nanoseconds.
            let (seconds, nanos) = (packet.header.ts.tv_sec, packet.header.ts.tv_usec);
            let nanos = u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanos).unwrap_or(0);
            let at = Timestamp::from_nanos(nanos);
            if self.unshared > 0 {
                if since.is_none_or(|since| at < since) {
                    continue;
                }
                self.unshared = 0;
            }
            if records.is_empty() {
                bytes.reserve(1 << 16);
            }
            records.push(Record {
                number: FrameNumber::default(),
                at,
                offset: bytes.len(),
                captured: packet.data.len() as u32,
                wire_len: packet.header.len.max(packet.data.len() as u32),
                link: self.link,
                interface: 0,
            });
            bytes.extend_from_slice(packet.data);
        }
        Ok(())
    }
}

/// Why a socket of several cannot be had.
enum NotOpened {
    Itself(CaptureError),
    Fan(Refused),
}

impl From<Refused> for NotOpened {
    fn from(refused: Refused) -> Self {
        Self::Fan(refused)
    }
}

/// An interface that can be captured from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, as `-i` takes it.
    pub name: String,
    /// What libpcap says of it.
    pub description: Option<String>,
    /// Whether it is up.
    pub is_up: bool,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
}

/// The interfaces of this machine, as libpcap lists them.
///
/// # Errors
/// libpcap is not installed, or cannot list them.
pub fn interfaces() -> Result<Vec<Interface>, CaptureError> {
    let devices = Device::list().map_err(|error| CaptureError::Interface {
        name: "interfaces".to_owned(),
        why: told(error),
    })?;
    Ok(devices
        .into_iter()
        .map(|device| Interface {
            is_up: device.flags.is_up(),
            name: device.name,
            description: device.desc,
            addresses: device.addresses.into_iter().map(|address| address.addr).collect(),
        })
        .collect())
}

/// What libpcap said.
fn told(error: pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(why) => why,
        other => other.to_string(),
    }
}

/// What it means that `name` cannot be opened.
fn refusal(name: &str, why: &str) -> CaptureError {
    let name = name.to_owned();
    let lower = why.to_lowercase();
    if lower.contains("permi") || lower.contains("cap_net_raw") {
        CaptureError::NotAllowed { name }
    } else if lower.contains("no such device") || lower.contains("doesn't exist") {
        CaptureError::Interface {
            name,
            why: "no such interface (blockscope interfaces lists them)".to_owned(),
        }
    } else {
        let why = why.to_owned();
        CaptureError::Interface { name, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_allowed_is_told_from_what_is_not_there() {
        for why in [
            "socket: Operation not permitted",
            "eth0: You don't have permission to perform this capture on that device",
            "Attempt to create packet socket failed - CAP_NET_RAW may be required",
        ] {
            assert!(matches!(refusal("eth0", why), CaptureError::NotAllowed { .. }), "{why}");
        }
        let error = refusal("eth9", "eth9: No such device exists").to_string();
        assert!(error.contains("blockscope interfaces"), "{error}");
        assert!(
            refusal("eth0", "eth0: That device is not up")
                .to_string()
                .contains("not up")
        );
    }
}

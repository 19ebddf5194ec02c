//! A browser that tries QUIC: it repeats its Initial with doubling pauses, talks to a server that answers, and falls back
//! to TCP when none does.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::conversation::{Lookup, LookupManner, Visit};
use super::host::Kernel;
use super::quic;
use super::sim_time::SimTime;
use super::story::{QuicStory, RecordKind, VisitStory};

/// RFC 9002 section 6.2.2: the initial round-trip time is 333 ms, the first probe goes out after three of them.
const FIRST_PROBE: Duration = Duration::from_millis(999);

#[derive(Debug)]
enum Stage {
    Start,
    Looking(Lookup),
    Trying(Attempt),
    Falling(Box<Visit>),
    Done,
}

/// A connection being tried.
#[derive(Debug)]
struct Attempt {
    port: u16,
    server: IpAddr,
    client_id: Vec<u8>,
    own_id: Vec<u8>,
    hello: Vec<u8>,
    sent: u32,
    again_at: SimTime,
    gives_up_at: SimTime,
    asked: bool,
    answers: u32,
}

/// A visit over QUIC.
#[derive(Debug)]
pub(crate) struct QuicVisit {
    plan: Rc<QuicStory>,
    name: String,
    direct: Option<IpAddr>,
    stage: Stage,
}

impl QuicVisit {
    /// A visit to one name, directly to this address if there is one.
    pub(crate) fn new(plan: Rc<QuicStory>, name: &str, direct: Option<IpAddr>) -> Self {
        Self {
            plan,
            name: name.to_owned(),
            direct,
            stage: Stage::Start,
        }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        match &self.stage {
            Stage::Done => true,
            Stage::Falling(visit) => visit.is_done(),
            Stage::Start | Stage::Looking(_) | Stage::Trying(_) => false,
        }
    }

    /// Goes on as far as it can. Returns when it wants to be called again.
    pub(crate) fn poll(&mut self, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Done => None,
            Stage::Start => match self.direct {
                Some(server) => self.attempt(server, task, kernel, now),
                None => {
                    let resolver = *kernel.resolver.first()?;
                    let lookup = Lookup::new(&self.name, RecordKind::A, resolver, LookupManner::usual());
                    self.look(lookup, task, kernel, now)
                }
            },
            Stage::Looking(lookup) => self.look(lookup, task, kernel, now),
            Stage::Trying(attempt) => self.go_on(attempt, task, kernel, now),
            Stage::Falling(mut visit) => {
                let at = visit.poll(task, kernel, now);
                self.stage = Stage::Falling(visit);
                at
            }
        }
    }

    fn look(&mut self, mut lookup: Lookup, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        if let Some(at) = lookup.poll(task, kernel, now) {
            self.stage = Stage::Looking(lookup);
            return Some(at);
        }
        let server = *lookup.found()?.first()?;
        self.attempt(server, task, kernel, now)
    }

    fn attempt(&mut self, server: IpAddr, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        let attempt = Attempt {
            port: kernel.open_udp(task),
            server,
            client_id: kernel.chance.bytes(8),
            own_id: kernel.chance.bytes(8),
            hello: quic::hello(&self.name, &mut kernel.chance),
            sent: 0,
            again_at: now,
            gives_up_at: now + self.plan.patience.0,
            asked: false,
            answers: 0,
        };
        self.go_on(attempt, task, kernel, now)
    }

    fn go_on(&mut self, mut attempt: Attempt, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        let to = (attempt.server, 443);
        for (_, datagram) in kernel.take_udp(attempt.port) {
            attempt.gives_up_at = now + self.plan.patience.0;
            if attempt.asked {
                // The rest of the server's handshake answers no request yet.
                let own_keys = datagram.first().is_some_and(|first| first & 0x80 == 0);
                attempt.answers += u32::from(own_keys);
                let acknowledgement = quic::noise_data(&attempt.client_id, 34, &mut kernel.chance);
                kernel.send_udp(attempt.port, to, acknowledgement);
            } else if let Some((_, server_id)) = quic::ids(&datagram) {
                attempt.asked = true;
                attempt.client_id = server_id.to_vec();
                let finished = quic::noise_handshake((server_id, &attempt.own_id), 110, &mut kernel.chance);
                kernel.send_udp(attempt.port, to, finished);
                let request = quic::noise_data(server_id, 420, &mut kernel.chance);
                kernel.send_udp(attempt.port, to, request);
            }
        }
        if attempt.gives_up_at <= now {
            if attempt.answers == 0 && self.plan.fallback {
                let plan = VisitStory {
                    names: vec![self.name.clone()],
                    ..VisitStory::default()
                };
                let mut visit = Box::new(Visit::new(Rc::new(plan), &self.name, vec![attempt.server]));
                let at = visit.poll(task, kernel, now);
                self.stage = Stage::Falling(visit);
                return at;
            }
            return None;
        }
        if attempt.again_at <= now {
            if !attempt.asked {
                let ids = (&attempt.client_id[..], &attempt.own_id[..]);
                let datagram = quic::client_initial(ids, attempt.sent, &attempt.hello);
                kernel.send_udp(attempt.port, to, datagram);
            } else if attempt.answers == 0 {
                // The request again, under another packet number: other noise.
                let request = quic::noise_data(&attempt.client_id, 420, &mut kernel.chance);
                kernel.send_udp(attempt.port, to, request);
            }
            attempt.again_at = now + FIRST_PROBE * (1 << attempt.sent.min(6));
            attempt.sent += 1;
        }
        let at = attempt.again_at.min(attempt.gives_up_at);
        self.stage = Stage::Trying(attempt);
        Some(at)
    }
}

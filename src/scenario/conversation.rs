//! What people do: visit a site with a browser, look a name up, scan ports. Each conversation is a task of its client's
//! host; it uses the host's sockets and says when it wants to be called again.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::datagram::{Body, Datagram, IpHeader, Segment, flag};
use super::dns::{self, rr};
use super::host::{ConnectionName, Kernel};
use super::http;
use super::quic_visit::QuicVisit;
use super::server::{framed, take_message};
use super::sim_time::SimTime;
use super::story::{EdnsOffer, Family, Follow, Leave, LookupStory, Over, RecordKind, Scheme, VisitStory};
use super::tcp_endpoint::{Ending, State};
use super::tls::{Event, Role, TlsSide};

/// RFC 8305 section 5: how long the preferred family's attempt is alone.
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How soon a browser tries again after a reset.
const RETRY_DELAY: Duration = Duration::from_millis(350);
const MOST_REDIRECTS: u32 = 4;

/// Something a host does.
#[derive(Debug)]
pub(crate) enum Task {
    Visit(Box<Visit>),
    Lookups(Vec<Lookup>),
    Scan(Scan),
    Quic(Box<QuicVisit>),
}

impl Task {
    /// Goes on as far as it can. Returns when it wants to be called again.
    pub(crate) fn poll(&mut self, index: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        match self {
            Self::Visit(visit) => visit.poll(index, kernel, now),
            Self::Lookups(lookups) => lookups
                .iter_mut()
                .filter_map(|lookup| lookup.poll(index, kernel, now))
                .min(),
            Self::Scan(scan) => scan.poll(kernel, now),
            Self::Quic(visit) => visit.poll(index, kernel, now),
        }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Visit(visit) => visit.is_done(),
            Self::Quic(visit) => visit.is_done(),
            Self::Lookups(lookups) => lookups
                .iter()
                .all(|lookup| matches!(lookup.stage, LookupStage::Done(_))),
            Self::Scan(scan) => scan.left.is_empty(),
        }
    }
}

/// How a stub resolver asks.
#[derive(Clone, Debug)]
pub(crate) struct LookupManner {
    over: Over,
    edns: bool,
    timeout: Duration,
    attempts: u32,
}

impl LookupManner {
    /// As glibc does.
    pub(crate) fn usual() -> Self {
        Self {
            over: Over::Udp,
            edns: false,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }

    /// As the story says.
    pub(crate) fn of(story: &LookupStory) -> Self {
        Self {
            over: story.over,
            edns: story.edns == EdnsOffer::Offer,
            timeout: story.timeout.0,
            attempts: story.attempts.max(1),
        }
    }
}

#[derive(Debug)]
enum LookupStage {
    Unasked,
    Udp {
        port: u16,
        id: u16,
        again_at: SimTime,
        left: u32,
    },
    Tcp {
        name: ConnectionName,
        asked: bool,
        buffer: Vec<u8>,
        until: SimTime,
    },
    Done(Vec<IpAddr>),
}

/// One question to one resolver.
#[derive(Debug)]
pub(crate) struct Lookup {
    name: String,
    kind: RecordKind,
    resolver: IpAddr,
    manner: LookupManner,
    stage: LookupStage,
}

impl Lookup {
    /// A question not asked yet.
    pub(crate) fn new(name: &str, kind: RecordKind, resolver: IpAddr, manner: LookupManner) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            resolver,
            manner,
            stage: LookupStage::Unasked,
        }
    }

    /// The addresses found, once it is done.
    pub(crate) fn found(&self) -> Option<&[IpAddr]> {
        match &self.stage {
            LookupStage::Done(addresses) => Some(addresses),
            LookupStage::Unasked | LookupStage::Udp { .. } | LookupStage::Tcp { .. } => None,
        }
    }

    fn query(&self, id: u16) -> Vec<u8> {
        let kind = match self.kind {
            RecordKind::A => rr::A,
            RecordKind::Aaaa => rr::AAAA,
        };
        dns::query(id, &self.name, kind, self.manner.edns)
    }

    /// Goes on as far as it can. Returns when it wants to be called again, `None` once it is done.
    pub(crate) fn poll(&mut self, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        match &mut self.stage {
            LookupStage::Done(_) => None,
            LookupStage::Unasked => {
                if self.manner.over == Over::Tcp {
                    match kernel.connect(task, (self.resolver, 53), None, now) {
                        Some(name) => {
                            let until = now + self.manner.timeout;
                            self.stage = LookupStage::Tcp {
                                name,
                                asked: false,
                                buffer: Vec::new(),
                                until,
                            };
                            Some(until)
                        }
                        None => {
                            self.stage = LookupStage::Done(Vec::new());
                            None
                        }
                    }
                } else {
                    let (port, id) = (kernel.open_udp(task), kernel.chance.half());
                    let again_at = now + self.manner.timeout;
                    kernel.send_udp(port, (self.resolver, 53), self.query(id));
                    self.stage = LookupStage::Udp {
                        port,
                        id,
                        again_at,
                        left: self.manner.attempts - 1,
                    };
                    Some(again_at)
                }
            }
            LookupStage::Udp {
                port,
                id,
                again_at,
                left,
            } => {
                let (port, id) = (*port, *id);
                for (from, message) in kernel.take_udp(port) {
                    let ours = from == self.resolver
                        && dns::is_answer(&message)
                        && message.get(..2) == Some(&id.to_be_bytes()[..]);
                    if ours {
                        // The first answer counts; the socket is closed and a later one meets nobody.
                        kernel.close_udp(port);
                        let addresses = dns::read_addresses(&message);
                        self.stage = LookupStage::Done(if dns::rcode(&message) == 0 {
                            addresses
                        } else {
                            Vec::new()
                        });
                        return None;
                    }
                }
                if *again_at > now {
                    return Some(*again_at);
                }
                if *left == 0 {
                    kernel.close_udp(port);
                    self.stage = LookupStage::Done(Vec::new());
                    return None;
                }
                *left -= 1;
                *again_at = now + self.manner.timeout;
                let again_at = *again_at;
                // The same query again, id and port unchanged, as stub resolvers do.
                kernel.send_udp(port, (self.resolver, 53), self.query(id));
                Some(again_at)
            }
            LookupStage::Tcp {
                name,
                asked,
                buffer,
                until,
            } => {
                let (name, until) = (*name, *until);
                let ended = kernel.tcp(name).is_none_or(|tcp| tcp.state() == State::Closed);
                if ended || until <= now {
                    if let Some(tcp) = kernel.tcp(name) {
                        tcp.close(now);
                    }
                    self.stage = LookupStage::Done(Vec::new());
                    return None;
                }
                if !*asked && kernel.tcp(name).is_some_and(|tcp| tcp.is_open()) {
                    *asked = true;
                    let id = kernel.chance.half();
                    let kind = if self.kind == RecordKind::A { rr::A } else { rr::AAAA };
                    let query = framed(&dns::query(id, &self.name, kind, self.manner.edns));
                    if let Some(tcp) = kernel.tcp(name) {
                        tcp.write(&query, now);
                    }
                }
                let tcp = kernel.tcp(name)?;
                buffer.extend(tcp.take_received());
                if let Some(message) = take_message(buffer) {
                    tcp.close(now);
                    self.stage = LookupStage::Done(dns::read_addresses(&message));
                    return None;
                }
                if tcp.peer_finished() {
                    tcp.close(now);
                }
                Some(until)
            }
        }
    }
}

/// Where a visit goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Goal {
    scheme: Scheme,
    host: String,
    path: String,
    port: Option<u16>,
}

impl Goal {
    /// An absolute http or https address; anything else is not followed.
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else {
            (Scheme::Http, url.strip_prefix("http://")?)
        };
        let (authority, path) = rest
            .split_once('/')
            .map_or((rest, "/".to_owned()), |(a, p)| (a, format!("/{p}")));
        let (host, port) = authority
            .split_once(':')
            .map_or((authority, None), |(h, p)| (h, p.parse().ok()));
        Some(Self {
            scheme,
            host: host.to_owned(),
            path,
            port,
        })
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        })
    }
}

#[derive(Debug)]
enum Stage {
    Start,
    Waiting(SimTime),
    Looking(Vec<Lookup>),
    Racing {
        tried: Vec<ConnectionName>,
        next: VecDeque<IpAddr>,
        next_at: SimTime,
    },
    Talking(Box<Talk>),
    Done,
}

/// The part of a visit that has a connection.
#[derive(Debug)]
struct Talk {
    name: ConnectionName,
    tls: Option<TlsSide>,
    hello_sent: bool,
    ready: bool,
    buffer: Vec<u8>,
    got: usize,
    asked: u32,
    answered: u32,
    ask_at: Option<SimTime>,
    waiting_since: SimTime,
    pieces: VecDeque<(SimTime, Vec<u8>)>,
    leave_at: Option<SimTime>,
    left: bool,
    probe_at: Option<SimTime>,
}

/// A browser's visit to a site.
#[derive(Debug)]
pub(crate) struct Visit {
    plan: Rc<VisitStory>,
    goal: Goal,
    /// Where it connects without looking anything up.
    direct: Vec<IpAddr>,
    stage: Stage,
    retries: u32,
    redirects: u32,
}

impl Visit {
    /// A visit to one name, directly to these addresses if there are any.
    pub(crate) fn new(plan: Rc<VisitStory>, name: &str, direct: Vec<IpAddr>) -> Self {
        let goal = Goal {
            scheme: plan.scheme,
            host: name.to_owned(),
            path: plan.path.clone(),
            port: plan.port,
        };
        Self {
            retries: plan.retries,
            goal,
            direct,
            plan,
            stage: Stage::Start,
            redirects: 0,
        }
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Goes on as far as it can. Returns when it wants to be called again.
    pub(crate) fn poll(&mut self, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        // Each turn may go through several stages; none can go round for ever, as time or packets must come between.
        for _ in 0..8 {
            let wait = match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Done => return None,
                Stage::Start => self.start(kernel),
                Stage::Waiting(until) if until > now => {
                    self.stage = Stage::Waiting(until);
                    Some(until)
                }
                Stage::Waiting(_) => {
                    self.stage = Stage::Start;
                    None
                }
                Stage::Looking(lookups) => self.look(lookups, task, kernel, now),
                Stage::Racing { tried, next, next_at } => self.race(tried, next, next_at, task, kernel, now),
                Stage::Talking(talk) => self.talk(talk, kernel, now),
            };
            if wait.is_some() || matches!(self.stage, Stage::Done) {
                return wait;
            }
        }
        None
    }

    fn start(&mut self, kernel: &mut Kernel) -> Option<SimTime> {
        if let Ok(address) = self.goal.host.parse::<IpAddr>() {
            return self.connect_to(vec![address]);
        }
        if !self.direct.is_empty() {
            let addresses = self.direct.clone();
            return self.connect_to(addresses);
        }
        let kinds: &[RecordKind] = match self.plan.family {
            Family::V4 => &[RecordKind::A],
            Family::V6 => &[RecordKind::Aaaa],
            Family::Race => &[RecordKind::Aaaa, RecordKind::A],
        };
        let resolver = kernel
            .resolver
            .iter()
            .copied()
            .find(|address| kernel.address_like(*address).is_some());
        if let Some(resolver) = resolver {
            let look = |kind: &RecordKind| Lookup::new(&self.goal.host, *kind, resolver, LookupManner::usual());
            self.stage = Stage::Looking(kinds.iter().map(look).collect());
        }
        None
    }

    fn look(&mut self, mut lookups: Vec<Lookup>, task: usize, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        let wait = lookups
            .iter_mut()
            .filter_map(|lookup| lookup.poll(task, kernel, now))
            .min();
        if wait.is_some() {
            self.stage = Stage::Looking(lookups);
            return wait;
        }
        let mut addresses: Vec<IpAddr> = lookups
            .iter()
            .filter_map(|lookup| lookup.found()?.first().copied())
            .collect();
        addresses.sort_by_key(IpAddr::is_ipv4);
        self.connect_to(addresses)
    }

    /// Goes on to connect; a loopback or unspecified address never reaches a wire.
    fn connect_to(&mut self, mut addresses: Vec<IpAddr>) -> Option<SimTime> {
        addresses.retain(|address| !address.is_loopback() && !address.is_unspecified());
        match self.plan.family {
            Family::V4 => addresses.sort_by_key(IpAddr::is_ipv6),
            Family::V6 | Family::Race => addresses.sort_by_key(IpAddr::is_ipv4),
        }
        addresses.truncate(if self.plan.family == Family::Race { 2 } else { 1 });
        if !addresses.is_empty() {
            self.stage = Stage::Racing {
                tried: Vec::new(),
                next: addresses.into(),
                next_at: SimTime::ZERO,
            };
        }
        None
    }

    fn race(
        &mut self,
        mut tried: Vec<ConnectionName>,
        mut next: VecDeque<IpAddr>,
        mut next_at: SimTime,
        task: usize,
        kernel: &mut Kernel,
        now: SimTime,
    ) -> Option<SimTime> {
        let open = tried
            .iter()
            .copied()
            .find(|name| kernel.tcp(*name).is_some_and(|tcp| tcp.is_open()));
        if let Some(winner) = open {
            for loser in tried.into_iter().filter(|name| *name != winner) {
                if let Some(tcp) = kernel.tcp(loser) {
                    tcp.close(now);
                }
            }
            self.stage = Stage::Talking(Box::new(Talk {
                name: winner,
                tls: (self.goal.scheme == Scheme::Https).then(|| TlsSide::new(Role::Client)),
                hello_sent: false,
                ready: self.goal.scheme == Scheme::Http,
                buffer: Vec::new(),
                got: 0,
                asked: 0,
                answered: 0,
                ask_at: Some(now),
                waiting_since: now,
                pieces: VecDeque::new(),
                leave_at: None,
                left: false,
                probe_at: self.plan.keep_alive.map(|gap| now + gap.0),
            }));
            return None;
        }
        let dead = tried
            .iter()
            .all(|name| kernel.tcp(*name).is_none_or(|tcp| tcp.state() == State::Closed));
        if (dead || next_at <= now)
            && let Some(address) = next.pop_front()
        {
            let goal_port = self.goal.port();
            tried.extend(kernel.connect(task, (address, goal_port), self.plan.source_port, now));
            next_at = now + CONNECTION_ATTEMPT_DELAY;
        } else if dead {
            let reset = tried
                .iter()
                .any(|name| kernel.tcp(*name).and_then(|tcp| tcp.ending()) == Some(Ending::Reset));
            if reset {
                return self.retry(now);
            }
            return None;
        }
        let wait = if next.is_empty() {
            now + Duration::from_secs(3600)
        } else {
            next_at
        };
        self.stage = Stage::Racing { tried, next, next_at };
        Some(wait)
    }

    fn retry(&mut self, now: SimTime) -> Option<SimTime> {
        if self.retries == 0 {
            return None;
        }
        self.retries -= 1;
        self.stage = Stage::Waiting(now + RETRY_DELAY);
        Some(now + RETRY_DELAY)
    }

    fn talk(&mut self, mut talk: Box<Talk>, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        let plan = Rc::clone(&self.plan);
        let agent = kernel.user_agent();
        let tcp = kernel.tcp(talk.name)?;
        if tcp.state() == State::Closed {
            let unanswered = talk.answered < plan.requests;
            if tcp.ending() == Some(Ending::Reset) && unanswered && !talk.left {
                return self.retry(now);
            }
            return None;
        }
        let bytes = tcp.take_received();
        let finished = tcp.peer_finished();
        talk.got += bytes.len();
        // TLS first: it has a hello to send and a flight to read.
        let mut to_write = Vec::new();
        if let Some(tls) = &mut talk.tls {
            if !talk.hello_sent {
                talk.hello_sent = true;
                talk.waiting_since = now;
                to_write.push(tls.client_hello(&self.goal.host, plan.hello, &mut kernel.chance));
            }
            for event in tls.take_in(&bytes) {
                match event {
                    Event::Ready => {
                        talk.ready = true;
                        to_write.push(tls.client_finished(&mut kernel.chance));
                    }
                    Event::KeyExchange => to_write.push(tls.key_exchange(&mut kernel.chance)),
                    Event::Plain(plain) => talk.buffer.extend(plain),
                    Event::Alert(_) => talk.leave_at = Some(now),
                    Event::Hello(_) => {}
                }
            }
        } else {
            talk.buffer.extend_from_slice(&bytes);
        }
        let mut redirect = None;
        while talk.answered < talk.asked
            && let Some(answer) = http::take_answer(&mut talk.buffer, finished)
        {
            talk.answered += 1;
            if plan.follow == Follow::Redirects && (300..400).contains(&answer.status) {
                redirect = answer.location.as_deref().and_then(Goal::parse);
            }
            if answer.closes || talk.answered >= plan.requests {
                talk.leave_at = Some(now + plan.linger.0);
            } else {
                talk.ask_at = Some(now + plan.pause.0);
            }
        }
        if talk.ready && talk.ask_at.is_some_and(|at| at <= now) && talk.asked < plan.requests && !talk.left {
            talk.ask_at = None;
            talk.asked += 1;
            talk.waiting_since = now;
            let request = http::request(&self.goal.host, &self.goal.path, plan.upload, agent);
            let mut rest = &request[..];
            let mut at = now;
            for size in plan.pieces.iter().copied() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                talk.pieces.push_back((at, piece.to_vec()));
                rest = after;
                at = at + plan.piece_gap.0;
            }
            if !rest.is_empty() {
                talk.pieces.push_back((at, rest.to_vec()));
            }
        }
        while let Some((at, _)) = talk.pieces.front()
            && *at <= now
            && let Some((_, piece)) = talk.pieces.pop_front()
        {
            let piece = talk.tls.as_mut().map_or(piece.clone(), |tls| tls.seal(&piece));
            to_write.push(piece);
        }
        let tcp = kernel.tcp(talk.name)?;
        if !to_write.is_empty() {
            tcp.write(&to_write.concat(), now);
        }
        if plan.abort_after.is_some_and(|most| talk.got >= most) && !talk.left {
            talk.left = true;
            tcp.abort(now);
            return None;
        }
        if let (Some(at), Some(gap)) = (talk.probe_at, plan.keep_alive)
            && at <= now
        {
            tcp.probe_peer(now);
            talk.probe_at = Some(now + gap.0);
        }
        let unanswered = talk.answered < talk.asked || !talk.ready;
        let gives_up_at = talk.waiting_since + plan.patience.0;
        let leaves = talk.leave_at.is_some_and(|at| at <= now);
        if !talk.left && (finished || leaves || (unanswered && gives_up_at <= now)) {
            let stays = plan.leave == Leave::Stay && leaves && !finished && redirect.is_none();
            if !stays {
                talk.left = true;
                match plan.leave {
                    Leave::Abort if !finished => tcp.abort(now),
                    Leave::Abort | Leave::Close | Leave::Stay => tcp.close(now),
                }
            } else {
                talk.leave_at = None;
            }
        }
        if let Some(goal) = redirect
            && self.redirects < MOST_REDIRECTS
        {
            self.redirects += 1;
            self.goal = goal;
            self.direct.clear();
            if !talk.left {
                tcp.close(now);
            }
            self.stage = Stage::Waiting(now + Duration::from_millis(20));
            return None;
        }
        let mut wait = now + Duration::from_secs(3600);
        for at in [
            talk.ask_at.filter(|_| talk.ready),
            talk.leave_at,
            talk.probe_at,
            talk.pieces.front().map(|(at, _)| *at),
        ] {
            wait = wait.min(at.unwrap_or(wait));
        }
        if unanswered {
            wait = wait.min(gives_up_at);
        }
        if !talk.left {
            self.stage = Stage::Talking(talk);
            return Some(wait);
        }
        // It has left; only a reset before any answer brings it back.
        None
    }
}

/// A port scan with bare SYNs.
#[derive(Debug)]
pub(crate) struct Scan {
    left: VecDeque<(IpAddr, u16)>,
    gap: Duration,
    next_at: SimTime,
}

impl Scan {
    /// A scan of these ports.
    pub(crate) fn new(targets: VecDeque<(IpAddr, u16)>, gap: Duration) -> Self {
        Self {
            left: targets,
            gap,
            next_at: SimTime::ZERO,
        }
    }

    fn poll(&mut self, kernel: &mut Kernel, now: SimTime) -> Option<SimTime> {
        if self.next_at > now {
            return Some(self.next_at);
        }
        let (target, port) = self.left.pop_front()?;
        if let Some(src) = kernel.address_like(target) {
            // ZMap: identification 54321, window 65535 (wire-facts 8), no options, TTL 255.
            let ip = IpHeader {
                src,
                dst: target,
                ttl: 255,
                id: 54_321,
                df: false,
                tos: 0,
                flow_label: 0,
            };
            let segment = Segment {
                src_port: 32_768 + kernel.chance.below(28_000) as u16,
                dst_port: port,
                seq: kernel.chance.word(),
                flags: flag::SYN,
                window: 65_535,
                ..Segment::default()
            };
            kernel.send_raw(Datagram {
                ip,
                body: Body::Tcp(segment),
            });
        }
        self.next_at = now + self.gap;
        (!self.left.is_empty()).then_some(self.next_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_page_is_taken_apart() {
        let goal = Goal::parse("http://10.10.34.36:8080/a?b=c").unwrap();
        assert_eq!(
            (goal.host.as_str(), goal.path.as_str(), goal.port()),
            ("10.10.34.36", "/a?b=c", 8080)
        );
        assert_eq!(Goal::parse("https://login.example").unwrap().path, "/");
        assert_eq!(Goal::parse("/relative"), None);
    }
}

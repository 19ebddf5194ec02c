//! A host: addresses, an operating system's habits, sockets, and what runs on it. It takes in packets and wake-up
//! calls and leaves behind packets to send and times at which it wants to be woken. Its kernel answers what nobody
//! listens for: RSTs for closed ports, ICMP for late datagrams.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::chance::Chance;
use super::conversation::Task;
use super::datagram::{Body, Datagram, IcmpMessage, IpHeader, Segment, UdpMessage, flag};
use super::quic;
use super::server::{DnsStream, Forward, Resolver, WebServer};
use super::sim_time::SimTime;
use super::story::{ClosedPorts, GuardStory, LateAnswers, Os, QuicServerStory, Scheme, WebStory};
use super::tcp_endpoint::{Ending, OptionOrder, State, TcpEndpoint, TcpHabits};

/// A connection as its own host names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionName {
    pub(crate) local: (IpAddr, u16),
    pub(crate) remote: (IpAddr, u16),
}

/// What wakes a host up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Connection(ConnectionName),
    Task(usize),
    Later,
}

/// Who owns a connection.
#[derive(Debug)]
enum Owner {
    Task(usize),
    Web(WebServer),
    Dns(DnsStream),
}

#[derive(Debug)]
struct Connection {
    tcp: TcpEndpoint,
    owner: Owner,
    ip_id: u16,
    flow_label: u32,
    wake_at: Option<SimTime>,
    guarded: bool,
    /// When the last segment came.
    heard_at: Option<SimTime>,
}

/// A UDP socket of a task.
#[derive(Debug)]
struct Socket {
    owner: usize,
    inbox: Vec<(IpAddr, Vec<u8>)>,
    ip_id: u16,
}

/// Something to send later.
#[derive(Debug)]
enum Later {
    Udp {
        src: (IpAddr, u16),
        dst: (IpAddr, u16),
        payload: Vec<u8>,
    },
    Raw(Datagram),
}

/// Everything of a host but its tasks, so that a task can use it while it runs.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) addresses: Vec<IpAddr>,
    /// The resolver's addresses.
    pub(crate) resolver: Vec<IpAddr>,
    pub(crate) chance: Chance,
    os: Os,
    connections: BTreeMap<ConnectionName, Connection>,
    sockets: BTreeMap<u16, Socket>,
    later: BTreeMap<(SimTime, u64), Later>,
    later_count: u64,
    next_port: u16,
    global_id: u16,
    closed_ports: ClosedPorts,
    gate: Option<IpAddr>,
    late_answers: LateAnswers,
    web: Option<Rc<WebStory>>,
    dns: Option<Resolver>,
    quic: Option<QuicServerStory>,
    /// QUIC connections by the client's address and port: this side's id, and whether the request has come.
    quic_sessions: BTreeMap<(IpAddr, u16), (Vec<u8>, bool)>,
    epoch: u64,
    out: Vec<Datagram>,
    wakes: Vec<(SimTime, Wake)>,
}

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) kernel: Kernel,
    tasks: Vec<Option<Task>>,
}

/// What a host is made of.
pub(crate) struct HostParts {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) resolver: Vec<IpAddr>,
    pub(crate) os: Os,
    pub(crate) closed_ports: ClosedPorts,
    pub(crate) gate: Option<IpAddr>,
    pub(crate) late_answers: LateAnswers,
    pub(crate) web: Option<Rc<WebStory>>,
    pub(crate) dns: Option<Resolver>,
    pub(crate) quic: Option<QuicServerStory>,
    /// Seconds since the Unix epoch at which the story begins.
    pub(crate) epoch: u64,
    pub(crate) chance: Chance,
}

impl Host {
    /// A host with nothing to do yet.
    pub(crate) fn new(parts: HostParts) -> Self {
        let mut chance = parts.chance;
        Self {
            kernel: Kernel {
                addresses: parts.addresses,
                resolver: parts.resolver,
                os: parts.os,
                connections: BTreeMap::new(),
                sockets: BTreeMap::new(),
                later: BTreeMap::new(),
                later_count: 0,
                next_port: 33_000 + chance.below(20_000) as u16,
                global_id: chance.half(),
                closed_ports: parts.closed_ports,
                gate: parts.gate,
                late_answers: parts.late_answers,
                web: parts.web,
                dns: parts.dns,
                quic: parts.quic,
                quic_sessions: BTreeMap::new(),
                epoch: parts.epoch,
                out: Vec::new(),
                wakes: Vec::new(),
                chance,
            },
            tasks: Vec::new(),
        }
    }

    /// Gives it something to do at a time.
    pub(crate) fn assign(&mut self, task: Task, at: SimTime) {
        self.kernel.wakes.push((at, Wake::Task(self.tasks.len())));
        self.tasks.push(Some(task));
    }

    /// Takes the packets it wants to send.
    pub(crate) fn take_out(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut self.kernel.out)
    }

    /// Takes the times at which it wants to be woken.
    pub(crate) fn take_wakes(&mut self) -> Vec<(SimTime, Wake)> {
        std::mem::take(&mut self.kernel.wakes)
    }

    /// Takes in a packet addressed to it.
    pub(crate) fn receive(&mut self, datagram: &Datagram, now: SimTime) {
        match &datagram.body {
            Body::Tcp(segment) => {
                let name = ConnectionName {
                    local: (datagram.ip.dst, segment.dst_port),
                    remote: (datagram.ip.src, segment.src_port),
                };
                if self.kernel.accept_tcp(datagram, segment, name, now) {
                    self.serve(name, now);
                }
            }
            Body::Udp(message) => {
                if let Some(task) = self.kernel.accept_udp(datagram, message, now) {
                    self.run(task, now);
                }
            }
            Body::Icmp(_) => {}
        }
    }

    /// Wakes it up.
    pub(crate) fn wake(&mut self, wake: Wake, now: SimTime) {
        match wake {
            Wake::Task(task) => self.run(task, now),
            Wake::Later => self.kernel.send_later(now),
            Wake::Connection(name) => {
                if let Some(connection) = self.kernel.connections.get_mut(&name) {
                    if connection.wake_at.is_some_and(|at| at <= now) {
                        connection.wake_at = None;
                    }
                    connection.tcp.tick(now);
                    self.serve(name, now);
                }
            }
        }
    }

    /// Lets a connection's owner act on it.
    fn serve(&mut self, name: ConnectionName, now: SimTime) {
        self.kernel.flush(name, now);
        let owner = self
            .kernel
            .connections
            .get(&name)
            .and_then(|connection| match connection.owner {
                Owner::Task(task) => Some(task),
                Owner::Web(_) | Owner::Dns(_) => None,
            });
        match owner {
            Some(task) => self.run(task, now),
            None => self.kernel.serve(name, now),
        }
        self.kernel.settle(name, now);
    }

    fn run(&mut self, index: usize, now: SimTime) {
        let Some(mut task) = self.tasks.get_mut(index).and_then(Option::take) else {
            return;
        };
        if let Some(at) = task.poll(index, &mut self.kernel, now) {
            self.kernel.wakes.push((at.max(now), Wake::Task(index)));
        }
        if !task.is_done() {
            self.tasks[index] = Some(task);
        }
        self.kernel.flush_owned(index, now);
    }
}

impl Kernel {
    /// Its address of the same version as `like`.
    pub(crate) fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        self.addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == like.is_ipv4())
    }

    /// Opens a connection for a task; `None` if there is no address of that version.
    pub(crate) fn connect(
        &mut self,
        task: usize,
        remote: (IpAddr, u16),
        port: Option<u16>,
        now: SimTime,
    ) -> Option<ConnectionName> {
        let local = self.address_like(remote.0)?;
        let port = port.unwrap_or_else(|| self.port());
        let name = ConnectionName {
            local: (local, port),
            remote,
        };
        let habits = self.habits(remote.0);
        let tcp = TcpEndpoint::connect(habits, (port, remote.1), self.chance.word(), self.chance.word(), now);
        self.adopt(name, tcp, Owner::Task(task));
        self.flush(name, now);
        Some(name)
    }

    /// The connection of that name, while it lasts.
    pub(crate) fn tcp(&mut self, name: ConnectionName) -> Option<&mut TcpEndpoint> {
        self.connections.get_mut(&name).map(|connection| &mut connection.tcp)
    }

    /// Opens a UDP socket for a task.
    pub(crate) fn open_udp(&mut self, task: usize) -> u16 {
        let port = 32_768 + self.chance.below(28_000) as u16;
        let ip_id = self.chance.half();
        self.sockets.insert(
            port,
            Socket {
                owner: task,
                inbox: Vec::new(),
                ip_id,
            },
        );
        port
    }

    /// Closes a UDP socket: what comes for it now is refused.
    pub(crate) fn close_udp(&mut self, port: u16) {
        self.sockets.remove(&port);
    }

    /// Sends from a task's socket.
    pub(crate) fn send_udp(&mut self, port: u16, dst: (IpAddr, u16), payload: Vec<u8>) {
        let Some(src) = self.address_like(dst.0) else { return };
        // A connected socket on Linux: DF and a counter of its own.
        let (id, df) = match self.os {
            Os::Linux => {
                let Some(socket) = self.sockets.get_mut(&port) else {
                    return;
                };
                socket.ip_id = socket.ip_id.wrapping_add(1);
                (socket.ip_id, true)
            }
            Os::Windows | Os::WindowsXp | Os::Appliance => (self.count_id(), false),
            Os::Mac | Os::Freebsd => (self.chance.half(), false),
        };
        let ip = self.header(src, dst.0, id, df);
        let body = Body::Udp(UdpMessage {
            src_port: port,
            dst_port: dst.1,
            payload,
        });
        self.out.push(Datagram { ip, body });
    }

    /// Takes what has arrived at a task's socket.
    pub(crate) fn take_udp(&mut self, port: u16) -> Vec<(IpAddr, Vec<u8>)> {
        self.sockets
            .get_mut(&port)
            .map(|socket| std::mem::take(&mut socket.inbox))
            .unwrap_or_default()
    }

    /// Sends a packet the kernel knows nothing about.
    pub(crate) fn send_raw(&mut self, datagram: Datagram) {
        self.out.push(datagram);
    }

    /// How a browser on this machine introduces itself.
    pub(crate) fn user_agent(&self) -> &'static str {
        match self.os {
            Os::Linux | Os::Freebsd | Os::Appliance => {
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
            }
            Os::Windows => "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
            Os::WindowsXp => "Mozilla/5.0 (Windows; U; Windows NT 5.1; ru; rv:1.9.0.3) Gecko/2008092417 Firefox/3.0.3",
            Os::Mac => "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:128.0) Gecko/20100101 Firefox/128.0",
        }
    }

    fn port(&mut self) -> u16 {
        self.next_port = self.next_port.wrapping_add(1 + self.chance.below(7) as u16).max(32_768);
        self.next_port
    }

    fn count_id(&mut self) -> u16 {
        self.global_id = self.global_id.wrapping_add(1);
        self.global_id
    }

    /// The time to live the operating system starts with.
    fn initial_ttl(&self) -> u8 {
        match self.os {
            Os::Linux | Os::Mac | Os::Freebsd => 64,
            Os::Windows | Os::WindowsXp => 128,
            Os::Appliance => 255,
        }
    }

    fn header(&self, src: IpAddr, dst: IpAddr, id: u16, df: bool) -> IpHeader {
        IpHeader {
            src,
            dst,
            ttl: self.initial_ttl(),
            id,
            df,
            tos: 0,
            flow_label: 0,
        }
    }

    fn habits(&self, like: IpAddr) -> TcpHabits {
        let mss = if like.is_ipv4() { 1460 } else { 1440 };
        let (syn_window, window, scale, timestamps, order) = match self.os {
            Os::Linux => (64_240, 64_256, Some(7), true, OptionOrder::Linux),
            Os::Windows => (64_240, 131_328, Some(8), false, OptionOrder::Windows),
            Os::WindowsXp => (65_535, 65_535, None, false, OptionOrder::Windows),
            Os::Mac => (65_535, 131_712, Some(6), true, OptionOrder::Mac),
            Os::Freebsd => (65_535, 65_664, Some(6), true, OptionOrder::Mac),
            Os::Appliance => (8190, 8190, None, false, OptionOrder::Windows),
        };
        TcpHabits {
            mss,
            syn_window,
            window,
            scale,
            timestamps,
            order,
        }
    }

    fn listening_habits(&self, like: IpAddr) -> TcpHabits {
        let mut habits = self.habits(like);
        if self.os == Os::Linux {
            habits.syn_window = 65_160;
            habits.window = 65_152;
        }
        if let Some(window) = self.web.as_ref().and_then(|web| web.window) {
            habits.syn_window = window.min(65_535) as u16;
            habits.window = window;
        }
        habits
    }

    fn adopt(&mut self, name: ConnectionName, tcp: TcpEndpoint, owner: Owner) {
        let connection = Connection {
            tcp,
            owner,
            ip_id: self.chance.half(),
            flow_label: self.chance.word() & 0xF_FFFF,
            wake_at: None,
            guarded: false,
            heard_at: None,
        };
        self.connections.insert(name, connection);
    }

    /// Takes in a segment. Says whether it belongs to a connection.
    fn accept_tcp(&mut self, datagram: &Datagram, segment: &Segment, name: ConnectionName, now: SimTime) -> bool {
        let fresh_syn = segment.has(flag::SYN) && !segment.has(flag::ACK) && !segment.has(flag::RST);
        if let Some(connection) = self.connections.get_mut(&name)
            && connection.tcp.state() != State::Closed
        {
            let heard_at = connection.heard_at.replace(now);
            if !(fresh_syn && connection.tcp.yields_to(segment)) {
                let guard = self.web.as_ref().and_then(|web| web.guard);
                let forgets = guard.and_then(|guard| Some((guard, heard_at? + guard.forgets?.0)));
                match forgets {
                    Some((guard, forgotten_at)) if now > forgotten_at && !segment.has(flag::RST) => {
                        self.forgotten(datagram, segment, guard, now);
                    }
                    _ => connection.tcp.receive(segment, now),
                }
                return true;
            }
            self.connections.remove(&name);
        }
        let owner = fresh_syn.then(|| self.listener(segment.dst_port, now)).flatten();
        if let Some(owner) = owner {
            let habits = self.listening_habits(name.remote.0);
            let tcp = TcpEndpoint::accept(habits, segment, self.chance.word(), self.chance.word(), now);
            self.adopt(name, tcp, owner);
            return true;
        }
        self.refuse(datagram, segment);
        false
    }

    fn listener(&self, port: u16, now: SimTime) -> Option<Owner> {
        let scheme = match port {
            53 => return self.dns.as_ref().map(|_| Owner::Dns(DnsStream::default())),
            80 => Scheme::Http,
            443 => Scheme::Https,
            _ => return None,
        };
        let web = self.web.as_ref().filter(|web| web.open.contains(&scheme))?;
        Some(Owner::Web(WebServer::new(Rc::clone(web), scheme, self.epoch, now)))
    }

    /// RFC 9293 section 3.10.7.1: what meets no connection is answered with a RST, unless it is one.
    fn refuse(&mut self, datagram: &Datagram, segment: &Segment) {
        if segment.has(flag::RST) {
            return;
        }
        match self.closed_ports {
            ClosedPorts::Refuse => {}
            ClosedPorts::Ignore => return,
            // RFC 1812 section 5.2.7.1, RFC 4443 section 3.1.
            ClosedPorts::Prohibit => return self.unreachable(datagram, 10, 1, self.gate),
        }
        let mut reset = Segment {
            src_port: segment.dst_port,
            dst_port: segment.src_port,
            flags: flag::RST,
            ..Segment::default()
        };
        if segment.has(flag::ACK) {
            reset.seq = segment.ack;
        } else {
            reset.flags |= flag::ACK;
            reset.ack = segment.seq.wrapping_add(segment.sequence_len());
        }
        let (id, df) = self.stateless_id();
        let ip = self.header(datagram.ip.dst, datagram.ip.src, id, df);
        self.out.push(Datagram {
            ip,
            body: Body::Tcp(reset),
        });
    }

    /// Identification and DF of what the kernel sends outside of connections.
    fn stateless_id(&mut self) -> (u16, bool) {
        match self.os {
            Os::Linux | Os::Mac => (0, true),
            Os::Windows | Os::WindowsXp => (self.count_id(), true),
            Os::Freebsd => (self.chance.half(), true),
            Os::Appliance => (self.count_id(), false),
        }
    }

    /// Takes in a datagram. Says which task it concerns.
    fn accept_udp(&mut self, datagram: &Datagram, message: &UdpMessage, now: SimTime) -> Option<usize> {
        if let Some(socket) = self.sockets.get_mut(&message.dst_port) {
            socket.inbox.push((datagram.ip.src, message.payload.clone()));
            return Some(socket.owner);
        }
        if message.dst_port == 53 && self.dns.is_some() {
            self.resolve(datagram, message, now);
            return None;
        }
        if let (443, Some(story)) = (message.dst_port, self.quic) {
            self.talk_quic(datagram, message, story, now);
            return None;
        }
        let forwarded = self
            .dns
            .as_mut()
            .and_then(|dns| dns.forwards.get_mut(&message.dst_port));
        if let Some(forward) = forwarded {
            if !forward.answered {
                forward.answered = true;
                let mut payload = message.payload.clone();
                if let Some(id) = payload.first_chunk_mut::<2>() {
                    *id = forward.id.to_be_bytes();
                }
                let later = Later::Udp {
                    src: (forward.local, 53),
                    dst: forward.client,
                    payload,
                };
                self.put_later(now + Duration::from_micros(180), later);
            }
            return None;
        }
        if self.late_answers == LateAnswers::Unreachable && self.closed_ports == ClosedPorts::Refuse {
            self.unreachable(datagram, 3, 4, None);
        }
        None
    }

    /// A QUIC server's side: Initial and Handshake for an Initial, a page's worth of packets for the first request.
    fn talk_quic(&mut self, datagram: &Datagram, message: &UdpMessage, story: QuicServerStory, now: SimTime) {
        let (src, dst) = ((datagram.ip.dst, 443), (datagram.ip.src, message.src_port));
        let mut replies = Vec::new();
        if quic::is_initial(&message.payload) {
            let Some((client_id, their_id)) = quic::ids(&message.payload) else {
                return;
            };
            let fresh = self.chance.bytes(8);
            let (own_id, _) = self.quic_sessions.entry(dst).or_insert((fresh, false)).clone();
            replies.push(quic::server_first(client_id, (their_id, &own_id), &mut self.chance));
            replies.push(quic::noise_handshake((their_id, &own_id), 1200, &mut self.chance));
        } else if let Some((_, asked)) = self.quic_sessions.get_mut(&dst)
            && message.payload.first().is_some_and(|first| first & 0x80 == 0)
            && !*asked
        {
            *asked = true;
            let id = self.chance.bytes(8);
            for _ in 0..story.packets {
                replies.push(quic::noise_data(&id, 1200, &mut self.chance));
            }
        }
        for (turn, payload) in (0_u64..).zip(replies) {
            let at = now + Duration::from_micros(700 + 90 * turn);
            self.put_later(at, Later::Udp { src, dst, payload });
        }
    }

    fn resolve(&mut self, datagram: &Datagram, message: &UdpMessage, now: SimTime) {
        let Some(dns) = &mut self.dns else { return };
        let (local, client) = (datagram.ip.dst, (datagram.ip.src, message.src_port));
        if !dns.upstreams.is_empty() {
            let Some(id) = message.payload.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else {
                return;
            };
            let (port, new_id) = (1024 + self.chance.below(60_000) as u16, self.chance.half());
            dns.forwards.insert(
                port,
                Forward {
                    client,
                    local,
                    id,
                    answered: false,
                },
            );
            let mut payload = message.payload.clone();
            payload[..2].copy_from_slice(&new_id.to_be_bytes());
            for upstream in dns.upstreams.clone() {
                if let Some(src) = self.address_like(upstream) {
                    let later = Later::Udp {
                        src: (src, port),
                        dst: (upstream, 53),
                        payload: payload.clone(),
                    };
                    self.put_later(now + Duration::from_micros(150), later);
                }
            }
            return;
        }
        if let Some((takes, payload)) = dns.answer(&message.payload, now) {
            self.put_later(
                now + takes,
                Later::Udp {
                    src: (local, 53),
                    dst: client,
                    payload,
                },
            );
        }
    }

    fn put_later(&mut self, at: SimTime, later: Later) {
        self.later_count += 1;
        self.later.insert((at, self.later_count), later);
        self.wakes.push((at, Wake::Later));
    }

    fn send_later(&mut self, now: SimTime) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            match entry.remove() {
                Later::Raw(datagram) => self.out.push(datagram),
                Later::Udp { src, dst, payload } => {
                    // An unconnected socket: servers send without DF.
                    let id = match self.os {
                        Os::Windows | Os::WindowsXp | Os::Appliance => self.count_id(),
                        Os::Linux | Os::Mac | Os::Freebsd => self.chance.half(),
                    };
                    let ip = self.header(src.0, dst.0, id, false);
                    let body = Body::Udp(UdpMessage {
                        src_port: src.1,
                        dst_port: dst.1,
                        payload,
                    });
                    self.out.push(Datagram { ip, body });
                }
            }
        }
    }

    /// ICMP type 3 or ICMPv6 type 1 with this code, quoting the datagram (RFC 1122 section 3.2.2.1, RFC 4443): 3 or 4 say
    /// that the port is closed. In the name of `gate`, if there is one.
    fn unreachable(&mut self, datagram: &Datagram, code_v4: u8, code_v6: u8, gate: Option<IpAddr>) {
        let v4 = datagram.ip.src.is_ipv4();
        let mut quote = datagram.to_bytes();
        // Linux quotes as much as fits into 576 bytes, over IPv6 into 1280; Windows the header and eight bytes.
        let windows = matches!(self.os, Os::Windows | Os::WindowsXp);
        quote.truncate(match (v4, windows) {
            (true, true) => 28,
            (true, false) => 548,
            (false, _) => 1232,
        });
        let (kind, code) = if v4 { (3, code_v4) } else { (1, code_v6) };
        let id = self.chance.half();
        let speaker = gate.filter(|gate| gate.is_ipv4() == v4).unwrap_or(datagram.ip.dst);
        let mut ip = self.header(speaker, datagram.ip.src, id, false);
        if v4 && self.os == Os::Linux {
            ip.tos = 0xC0;
        }
        self.out.push(Datagram {
            ip,
            body: Body::Icmp(IcmpMessage {
                kind,
                code,
                rest: [0; 4],
                payload: quote,
            }),
        });
    }

    /// Lets a server application act on its connection.
    fn serve(&mut self, name: ConnectionName, now: SimTime) {
        let Some(connection) = self.connections.get_mut(&name) else {
            return;
        };
        let again = match (&mut connection.owner, &mut self.dns) {
            (Owner::Web(web), _) => web.poll(&mut connection.tcp, now, &mut self.chance),
            (Owner::Dns(stream), Some(dns)) => stream.poll(&mut connection.tcp, dns, now),
            (Owner::Dns(_), None) | (Owner::Task(_), _) => None,
        };
        if let Some(at) = again {
            self.wake_connection(name, at);
        }
        self.flush(name, now);
        self.guard(name, now);
    }

    fn wake_connection(&mut self, name: ConnectionName, at: SimTime) {
        if let Some(connection) = self.connections.get_mut(&name)
            && connection.wake_at.is_none_or(|earlier| at < earlier)
        {
            connection.wake_at = Some(at);
            self.wakes.push((at, Wake::Connection(name)));
        }
    }

    /// A firewall before the server has forgotten the flow, and answers what still comes with a RST of its own.
    fn forgotten(&mut self, datagram: &Datagram, segment: &Segment, guard: GuardStory, now: SimTime) {
        let id = self.chance.half();
        let mut ip = self.header(datagram.ip.dst, datagram.ip.src, id, false);
        ip.ttl = guard.ttl;
        let reset = Segment {
            src_port: segment.dst_port,
            dst_port: segment.src_port,
            seq: segment.ack,
            flags: flag::RST,
            ..Segment::default()
        };
        let body = Body::Tcp(reset);
        self.put_later(now + guard.after.0, Later::Raw(Datagram { ip, body }));
    }

    /// A firewall before the server clears away a closed flow: a RST to the client with the firewall's TTL.
    fn guard(&mut self, name: ConnectionName, now: SimTime) {
        let Some(GuardStory { ttl, after, .. }) = self.web.as_ref().and_then(|web| web.guard) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&name) else {
            return;
        };
        let closed = connection.tcp.state() == State::TimeWait || connection.tcp.ending() == Some(Ending::Closed);
        if connection.guarded || !closed {
            return;
        }
        connection.guarded = true;
        let (seq, ack) = connection.tcp.edges();
        let id = self.chance.half();
        let mut ip = self.header(name.local.0, name.remote.0, id, false);
        ip.ttl = ttl;
        let reset = Segment {
            src_port: name.local.1,
            dst_port: name.remote.1,
            seq,
            ack,
            flags: flag::RST | flag::ACK,
            ..Segment::default()
        };
        self.put_later(
            now + after.0,
            Later::Raw(Datagram {
                ip,
                body: Body::Tcp(reset),
            }),
        );
    }

    /// Sends what lies in a connection's outbox.
    fn flush(&mut self, name: ConnectionName, now: SimTime) {
        let Some(connection) = self.connections.get_mut(&name) else {
            return;
        };
        let segments = connection.tcp.take_outbox();
        for segment in segments {
            let (id, df) = match self.os {
                Os::Linux => {
                    let stateless = segment.has(flag::SYN | flag::ACK) || segment.flags == flag::RST;
                    if stateless {
                        (0, true)
                    } else if let Some(connection) = self.connections.get_mut(&name) {
                        connection.ip_id = connection.ip_id.wrapping_add(1);
                        (connection.ip_id, true)
                    } else {
                        (0, true)
                    }
                }
                Os::Mac | Os::Windows | Os::WindowsXp | Os::Freebsd | Os::Appliance => self.stateless_id(),
            };
            let mut ip = self.header(name.local.0, name.remote.0, id, df);
            if segment.has(flag::SYN | flag::ACK)
                && let Some(ttl) = self.web.as_ref().and_then(|web| web.syn_proxy)
            {
                ip.ttl = ttl;
            }
            if let (Some(connection), true) = (self.connections.get(&name), ip.src.is_ipv6()) {
                ip.flow_label = connection.flow_label;
            }
            self.out.push(Datagram {
                ip,
                body: Body::Tcp(segment),
            });
        }
        self.settle(name, now);
    }

    fn flush_owned(&mut self, task: usize, now: SimTime) {
        let owned: Vec<ConnectionName> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.owner, Owner::Task(owner) if owner == task))
            .map(|(name, _)| *name)
            .collect();
        for name in owned {
            self.flush(name, now);
        }
    }

    /// Sets a connection's alarm.
    fn settle(&mut self, name: ConnectionName, _now: SimTime) {
        let Some(connection) = self.connections.get(&name) else {
            return;
        };
        if let Some(at) = connection.tcp.deadline() {
            self.wake_connection(name, at);
        }
    }
}

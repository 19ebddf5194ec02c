//! What listens on the story's hosts: web sites behind HTTP and TLS, and DNS resolvers with a cache, a view of their
//! own, DNS64, or upstreams to race.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use super::certificate;
use super::chance::Chance;
use super::dns::{self, Question, Record, RecordData, Tail, bits, rr};
use super::http;
use super::sim_time::SimTime;
use super::story::{
    BodyFraming, Connection, EdnsHabit, IdleEnd, RecordOrder, RecordStory, ResolverStory, Scheme, SiteStory, Story,
    TlsVersion, WebStory, matches,
};
use super::tcp_endpoint::TcpEndpoint;
use super::tls::{Event, Role, TlsSide};

/// Something a server does a while after it has been asked.
#[derive(Clone, Debug)]
enum Reply {
    Bytes(Vec<u8>),
    Last(Vec<u8>),
    Close,
    Alert(u8),
}

/// One connection of a web server.
#[derive(Clone, Debug)]
pub(crate) struct WebServer {
    web: Rc<WebStory>,
    tls: Option<TlsSide>,
    buffer: Vec<u8>,
    due: VecDeque<(SimTime, Reply)>,
    active: SimTime,
    over: bool,
    epoch: u64,
}

impl WebServer {
    /// A connection just accepted.
    pub(crate) fn new(web: Rc<WebStory>, scheme: Scheme, epoch: u64, now: SimTime) -> Self {
        let tls = (scheme == Scheme::Https).then(|| TlsSide::new(Role::Server));
        Self {
            web,
            tls,
            buffer: Vec::new(),
            due: VecDeque::new(),
            active: now,
            over: false,
            epoch,
        }
    }

    /// Reads what has come, answers what is due. Returns when it wants to be called again.
    pub(crate) fn poll(&mut self, tcp: &mut TcpEndpoint, now: SimTime, chance: &mut Chance) -> Option<SimTime> {
        if !tcp.is_open() || self.over {
            return None;
        }
        let bytes = tcp.take_received();
        if !bytes.is_empty() {
            self.active = now;
            self.take_in(&bytes, tcp, now, chance);
        }
        while let Some((at, _)) = self.due.front()
            && *at <= now
            && let Some((_, reply)) = self.due.pop_front()
        {
            self.active = now;
            match reply {
                Reply::Bytes(bytes) => {
                    let bytes = self.tls.as_mut().map_or(bytes.clone(), |tls| tls.seal(&bytes));
                    tcp.write(&bytes, now);
                }
                Reply::Last(bytes) => {
                    let bytes = self.tls.as_mut().map_or(bytes.clone(), |tls| tls.seal(&bytes));
                    self.over = true;
                    tcp.write_last(&bytes, now);
                    return None;
                }
                Reply::Alert(description) => tcp.write(&TlsSide::alert(description), now),
                Reply::Close => {
                    self.over = true;
                    tcp.finish(now);
                    return None;
                }
            }
        }
        if tcp.peer_finished() && self.due.is_empty() {
            self.over = true;
            tcp.close(now);
            return None;
        }
        let idle_at = self.active + self.web.idle.0;
        if self.due.is_empty() && idle_at <= now {
            self.over = true;
            match self.web.idle_end {
                IdleEnd::Fin => tcp.finish(now),
                IdleEnd::Reset => tcp.abort(now),
            }
            return None;
        }
        Some(self.due.front().map_or(idle_at, |(at, _)| *at))
    }

    fn take_in(&mut self, bytes: &[u8], tcp: &mut TcpEndpoint, now: SimTime, chance: &mut Chance) {
        match &mut self.tls {
            None => self.buffer.extend_from_slice(bytes),
            Some(tls) => {
                for event in tls.take_in(bytes) {
                    match event {
                        Event::Hello(name) => {
                            let refused = self.web.site.iter().find_map(|site| {
                                site.refuse_sni
                                    .filter(|_| site.names.iter().any(|pattern| matches(pattern, &name)))
                            });
                            if let Some(alert) = refused {
                                self.due
                                    .push_back((now + Duration::from_micros(400), Reply::Alert(alert)));
                                self.due.push_back((now + Duration::from_micros(450), Reply::Close));
                            } else {
                                let flight = match self.web.tls {
                                    TlsVersion::V13 => tls.server_flight(self.web.certificate, chance),
                                    TlsVersion::V12 => {
                                        let chain = certificate::chain(
                                            self.web.authority,
                                            &name,
                                            self.web.certificate,
                                            self.epoch,
                                        );
                                        tls.server_flight_in_the_clear(&chain, chance)
                                    }
                                };
                                tcp.write(&flight, now);
                            }
                        }
                        Event::KeyExchange => {
                            let finished = tls.key_exchange(chance);
                            tcp.write(&finished, now);
                        }
                        Event::Plain(plain) => self.buffer.extend_from_slice(&plain),
                        Event::Ready | Event::Alert(_) => {}
                    }
                }
            }
        }
        while let Some(request) = http::take_request(&mut self.buffer) {
            let think = self.web.think.0;
            let at = now + think + chance.up_to(think / 4);
            let date = http::date(self.epoch + at.since(SimTime::ZERO).as_secs());
            let (bytes, connection) = answer(&self.web, &request, &date);
            match connection {
                Connection::KeepAlive => self.due.push_back((at, Reply::Bytes(bytes))),
                Connection::Close => self.due.extend([(at, Reply::Bytes(bytes)), (at, Reply::Close)]),
                Connection::CloseAtOnce => self.due.push_back((at, Reply::Last(bytes))),
            }
        }
    }
}

/// A site's answer, and what becomes of the connection.
fn answer(web: &WebStory, request: &http::Request, date: &str) -> (Vec<u8>, Connection) {
    let host = request.host.split(':').next().unwrap_or_default();
    let plain = SiteStory::default();
    let site = web
        .site
        .iter()
        .find(|site| site.names.iter().any(|pattern| matches(pattern, host)))
        .unwrap_or(&plain);
    let status = site.status.unwrap_or(200);
    let body = match (&site.text, status) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, 204 | 304) => Vec::new(),
        (None, _) => http::page(host, site.body.unwrap_or(web.body)),
    };
    let connection = match (site.connection, site.framing) {
        (Connection::KeepAlive, BodyFraming::Close) => Connection::Close,
        (connection, _) => connection,
    };
    let mut head = format!("HTTP/1.1 {status} {}\r\n", http::reason(status));
    let server = site.server.as_ref().unwrap_or(&web.server);
    if !server.is_empty() {
        head.push_str(&format!("Server: {server}\r\nDate: {date}\r\n"));
    }
    head.push_str("Content-Type: text/html; charset=utf-8\r\n");
    if let Some(location) = &site.location {
        head.push_str(&format!("Location: {location}\r\n"));
    }
    for header in &site.headers {
        head.push_str(&format!("{header}\r\n"));
    }
    let body = match site.framing {
        BodyFraming::Length => {
            head.push_str(&format!("Content-Length: {}\r\n", site.declares.unwrap_or(body.len())));
            body
        }
        BodyFraming::Chunked => {
            head.push_str("Transfer-Encoding: chunked\r\n");
            http::chunks(&body, 4096)
        }
        BodyFraming::Close => body,
    };
    head.push_str(match connection {
        Connection::KeepAlive => "Connection: keep-alive\r\n\r\n",
        Connection::Close | Connection::CloseAtOnce => "Connection: close\r\n\r\n",
    });
    let mut bytes = head.into_bytes();
    bytes.extend(body);
    (bytes, connection)
}

/// The names of the story's world and what they lead to.
#[derive(Debug, Default)]
pub(crate) struct Zone(BTreeMap<String, RecordStory>);

impl Zone {
    /// All records of a story: its own and its hosts' names.
    pub(crate) fn of(story: &Story, renumbered: &dyn Fn(IpAddr) -> IpAddr) -> Self {
        let mut zone = Self::default();
        for host in &story.host {
            for name in &host.names {
                let mut record = RecordStory {
                    name: name.clone(),
                    a: Vec::new(),
                    aaaa: Vec::new(),
                    cname: None,
                    ttl: 300,
                    order: RecordOrder::Fixed,
                    give: None,
                };
                for address in host.addresses.get_ref() {
                    match address {
                        IpAddr::V4(address) => record.a.push(*address),
                        IpAddr::V6(address) => record.aaaa.push(*address),
                    }
                }
                zone.add(record, renumbered);
            }
        }
        for record in &story.record {
            zone.add(record.clone(), renumbered);
        }
        zone
    }

    fn add(&mut self, mut record: RecordStory, renumbered: &dyn Fn(IpAddr) -> IpAddr) {
        for address in &mut record.a {
            if let IpAddr::V4(moved) = renumbered((*address).into()) {
                *address = moved;
            }
        }
        for address in &mut record.aaaa {
            if let IpAddr::V6(moved) = renumbered((*address).into()) {
                *address = moved;
            }
        }
        self.0.insert(record.name.to_ascii_lowercase(), record);
    }
}

/// A query a forwarder has passed on.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    /// Who asked, and from which port.
    pub(crate) client: (IpAddr, u16),
    /// Which of the forwarder's addresses was asked.
    pub(crate) local: IpAddr,
    /// The asker's transaction id.
    pub(crate) id: u16,
    /// Whether an answer has been passed back.
    pub(crate) answered: bool,
}

/// A resolver.
#[derive(Debug)]
pub(crate) struct Resolver {
    story: ResolverStory,
    zone: Rc<Zone>,
    own: Zone,
    cached: BTreeMap<(String, u16), SimTime>,
    turn: usize,
    delayed: BTreeMap<String, u32>,
    chance: Chance,
    /// Where it forwards to, if it does.
    pub(crate) upstreams: Vec<IpAddr>,
    /// What it has forwarded, by the port it used.
    pub(crate) forwards: BTreeMap<u16, Forward>,
}

impl Resolver {
    /// The resolver a story describes.
    pub(crate) fn new(
        story: &ResolverStory,
        zone: Rc<Zone>,
        upstreams: Vec<IpAddr>,
        renumbered: &dyn Fn(IpAddr) -> IpAddr,
        mut chance: Chance,
    ) -> Self {
        let mut own = Zone::default();
        for record in &story.record {
            own.add(record.clone(), renumbered);
        }
        Self {
            story: story.clone(),
            zone,
            own,
            cached: BTreeMap::new(),
            turn: chance.below(16) as usize,
            delayed: BTreeMap::new(),
            chance,
            upstreams,
            forwards: BTreeMap::new(),
        }
    }

    /// Answers a query: the message and how long it takes. `None` for what is no query.
    pub(crate) fn answer(&mut self, query: &[u8], now: SimTime) -> Option<(Duration, Vec<u8>)> {
        if dns::is_answer(query) {
            return None;
        }
        let question = dns::read_question(query)?;
        let key = (question.name.to_ascii_lowercase(), question.kind);
        let mut takes = self.story.latency.0 + self.chance.up_to(self.story.latency.0 / 4);
        let (found, records) = self.look_up(&question);
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(300);
        let since = match self.cached.get(&key) {
            Some(since) if now.since(*since) < Duration::from_secs(u64::from(ttl)) => *since,
            Some(_) | None => {
                takes += self.story.recursion.0 + self.chance.up_to(self.story.recursion.0 / 4);
                self.cached.insert(key, now);
                now
            }
        };
        let age = now.since(since).as_secs() as u32;
        let records: Vec<Record> = records
            .into_iter()
            .map(|record| Record {
                ttl: record.ttl.saturating_sub(age),
                ..record
            })
            .collect();
        for delay in &self.story.delays {
            let times = self.delayed.entry(delay.name.clone()).or_default();
            if matches(&delay.name, &question.name) && *times < delay.times {
                *times += 1;
                takes += delay.by.0;
            }
        }
        let tail = match self.story.edns {
            EdnsHabit::Echo if question.edns => Tail::Opt(1232),
            EdnsHabit::Echo | EdnsHabit::Ignore => Tail::Bare,
        };
        let flags = bits::ANSWER | if found { 0 } else { 3 };
        let negative = !records
            .iter()
            .any(|record| matches!(record.data, RecordData::Address(_)));
        Some((takes, dns::answer(query, &question, flags, &records, negative, tail)))
    }

    /// Whether the name exists, and what there is of the kind asked for, aliases first.
    fn look_up(&mut self, question: &Question) -> (bool, Vec<Record>) {
        let mut records = Vec::new();
        let mut name = question.name.to_ascii_lowercase();
        let mut found = false;
        for _ in 0..8 {
            let Some(entry) = self.own.0.get(&name).or_else(|| self.zone.0.get(&name)) else {
                break;
            };
            found = true;
            let owner = if records.is_empty() {
                question.name.clone()
            } else {
                name.clone()
            };
            if let Some(alias) = &entry.cname {
                records.push(Record {
                    owner,
                    ttl: entry.ttl,
                    data: RecordData::Alias(alias.clone()),
                });
                name = alias.to_ascii_lowercase();
                continue;
            }
            let v4 = entry.a.iter().copied().map(IpAddr::from);
            let mut addresses: Vec<IpAddr> = match question.kind {
                rr::A => v4.collect(),
                rr::AAAA if entry.aaaa.is_empty() => match self.story.dns64 {
                    Some(prefix) => entry.a.iter().map(|address| embed(prefix, address.octets())).collect(),
                    None => Vec::new(),
                },
                rr::AAAA => entry.aaaa.iter().copied().map(IpAddr::from).collect(),
                _ => Vec::new(),
            };
            let count = addresses.len();
            if count > 0 {
                let give = entry.give.unwrap_or(count).min(count);
                if entry.order == RecordOrder::Rotate {
                    let step = if give == count { 1 } else { give };
                    addresses.rotate_left(self.turn * step % count);
                    self.turn += 1;
                }
                addresses.truncate(give);
            }
            let ttl = entry.ttl;
            records.extend(addresses.into_iter().map(|address| Record {
                owner: owner.clone(),
                ttl,
                data: RecordData::Address(address),
            }));
            break;
        }
        (found, records)
    }
}

/// An IPv4 address under a DNS64 prefix of 96 bits (RFC 6052).
fn embed(prefix: Ipv6Addr, address: [u8; 4]) -> IpAddr {
    let mut octets = prefix.octets();
    octets[12..].copy_from_slice(&address);
    octets.into()
}

/// One DNS connection over TCP.
#[derive(Clone, Debug, Default)]
pub(crate) struct DnsStream {
    buffer: Vec<u8>,
    due: VecDeque<(SimTime, Vec<u8>)>,
    over: bool,
}

impl DnsStream {
    /// Reads what has come, answers what is due. Returns when it wants to be called again.
    pub(crate) fn poll(&mut self, tcp: &mut TcpEndpoint, resolver: &mut Resolver, now: SimTime) -> Option<SimTime> {
        if !tcp.is_open() || self.over {
            return None;
        }
        self.buffer.extend(tcp.take_received());
        while let Some(message) = take_message(&mut self.buffer) {
            if let Some((takes, answer)) = resolver.answer(&message, now) {
                self.due.push_back((now + takes, answer));
            }
        }
        while let Some((at, _)) = self.due.front()
            && *at <= now
            && let Some((_, answer)) = self.due.pop_front()
        {
            tcp.write(&framed(&answer), now);
        }
        if tcp.peer_finished() && self.due.is_empty() {
            self.over = true;
            tcp.close(now);
        }
        self.due.front().map(|(at, _)| *at)
    }
}

/// A DNS message with the length that precedes it over TCP.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// Cuts the first complete message out of a DNS byte stream.
pub(crate) fn take_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes([*buffer.first()?, *buffer.get(1)?]));
    if buffer.len() < 2 + len {
        return None;
    }
    let message = buffer[2..2 + len].to_vec();
    buffer.drain(..2 + len);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns64_embeds_the_address_in_the_prefix() {
        let embedded = embed("64:ff9b::".parse().unwrap(), [192, 0, 2, 33]);
        assert_eq!(embedded, "64:ff9b::c000:221".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_cached_record_ticks_down() {
        let record = RecordStory {
            name: "a.example".into(),
            a: vec![[45, 140, 1, 1].into()],
            aaaa: Vec::new(),
            cname: None,
            ttl: 60,
            order: RecordOrder::Fixed,
            give: None,
        };
        let mut zone = Zone::default();
        zone.add(record, &|address| address);
        let mut resolver = Resolver::new(
            &ResolverStory::default(),
            Rc::new(zone),
            Vec::new(),
            &|address| address,
            Chance::new(1),
        );
        let query = dns::query(1, "a.example", rr::A, false);
        let (first, _) = resolver.answer(&query, SimTime::ZERO).unwrap();
        let (second, answer) = resolver.answer(&query, SimTime::ZERO + Duration::from_secs(7)).unwrap();
        assert!(second < first, "the second comes from the cache");
        let ttl = &answer[answer.len() - 10..answer.len() - 6];
        assert_eq!(ttl, &[0, 0, 0, 53]);
    }
}

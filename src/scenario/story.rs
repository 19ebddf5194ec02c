//! A story: the small network, its people and machines, and what happens, as a person writes it in TOML.
//!
//! ## Story format
//!
//! Spans of time are strings: `"150us"`, `"12ms"`, `"1.5s"`, `"2m"`. Chances are numbers from 0 to 1. Unknown keys are
//! errors. Names of hosts and routers are free; every name used must be defined.
//!
//! ```toml
//! title = "One line that says what happens"
//! seed = 7                            # all chance comes from here
//! start = 2026-01-10T08:00:00Z        # what the capture's clock says when the story begins
//! blocking = ["silent_drop"]          # which kinds of blocking a reader may find; nothing here depends on it
//! lasts = "40s"                       # the capture ends here (default: when all is quiet, at most 10 minutes)
//!
//! # The network is a tree of routers; exactly one has no `towards` (the root). Routing follows the tree.
//! [[router]]
//! name = "core"
//! [[router]]
//! name = "access"
//! towards = "core"                    # the neighbour nearer to the root
//! link = { delay = "4ms", jitter = "200us", loss = 0.0, reorder = 0.0, duplicate = 0.0, hops = 0 }
//! # a link may also have an `mtu` (bytes; larger packets vanish without a word) and a `rate` (kbit/s) with a `burst`
//! # (bytes) and a `queue` (how long packets may wait; without one, what exceeds the rate is dropped)
//! # a link's `hops` are further routers hidden in it: each takes one from the TTL
//!
//! # Taps write the capture. A tap is a mirror of a router's port: `at` one end of a link, `towards` the other.
//! [[tap]]
//! at = "access"
//! towards = "core"                    # a router or a host
//! sees = "both"                       # or "outward" (leaving `at`), "inward" (coming in to `at`)
//! mirror = "once"                     # or "twice": each packet before and after routing, the copy's TTL one lower
//! loss = 0.0                          # frames the tap itself misses
//! snaplen = 262144                    # of the first tap, and the same for all
//! vlan = 120                          # optional 802.1Q tag
//! framing = "ethernet"                # or "raw" (bare IP); of the first tap, and the same for all
//!
//! [[host]]
//! name = "alice"
//! at = "access"                       # the router it hangs on
//! link = { delay = "2ms" }
//! addresses = ["10.20.0.5", "2001:db8:20::5"]   # at most one of each version
//! os = "linux"                        # linux, windows, windows_xp, mac, freebsd, appliance
//! resolver = "dns"                    # the host whose resolver it asks
//! names = ["news.example"]            # DNS names that lead to its addresses (TTL 300)
//! closed_ports = "refuse"             # or "ignore": a silent host; "prohibit": says so by ICMP code 10 (IPv6: code 1)
//! gate = "45.140.16.1"                # in whose name it prohibits, the router's before it; its own otherwise
//! late_answers = "unreachable"        # or "ignore": what a UDP packet to a closed port draws
//! renumbering = "moves"               # or "stays": keeps its address when a story is renumbered
//! outages = [{ from = "10s", until = "25s" }]          # it is down: receives and sends nothing
//! moves = [{ at = "20s", delay = "30ms", hops = 5 }]   # its link changes, as when an anycast route flips
//!
//! [host.web]                          # it is a web server
//! open = ["http", "https"]            # ports 80 and 443
//! think = "8ms"                       # from request to answer
//! body = 12000                        # bytes of a page
//! certificate = 2800                  # bytes of a certificate message
//! idle = "15s"                        # closes idle connections after this …
//! idle_end = "fin"                    # … with a "fin" or a "reset"
//! server = "nginx"                    # Server header
//! window = 65160                      # receive window, if not the operating system's
//! guard = { ttl = 255, after = "3ms" }  # a firewall before the server that resets closed flows with its own TTL;
//!                                     # forgets = "60s": and what comes later than that on an idle one
//! syn_proxy = 255                     # a device in front answers SYNs, with this TTL
//! tls = "1.3"                         # or "1.2", with a certificate anybody can read …
//! authority = "lets_encrypt"          # … signed by this one: lets_encrypt, digicert, qaznet, isca, fortinet, own
//! [[host.web.site]]                   # what differs for some names ("*.x.example", "*" are patterns)
//! names = ["old.example"]
//! status = 302
//! location = "https://login.example/"
//! body = 300
//! text = "<html>…</html>"             # instead of filler
//! framing = "length"                  # or "chunked", "close"
//! headers = ["Link: <https://court.example/>; rel=\"blocked-by\""]
//! connection = "keep_alive"           # or "close", "close_at_once": the FIN comes with the answer
//! server = ""                         # neither Server nor Date, as balancers answer; or another Server header
//! refuse_sni = 112                    # answers a ClientHello with this alert
//!
//! [host.dns]                          # it answers DNS, UDP and TCP port 53
//! latency = "2ms"                     # for what it has in its cache
//! recursion = "25ms"                  # on top, for what it must look up first
//! edns = "echo"                       # or "ignore"
//! dns64 = "64:ff9b::"                 # synthesise AAAA under this prefix
//! upstreams = ["dns-a", "dns-b"]      # a forwarder: asks all of them, passes the first answer on
//! record = [{ name = "intranet.example", a = ["10.1.1.1"] }]   # its own view
//! delays = [{ name = "slow.example", by = "6s", times = 1 }]   # answers late, the first `times` times
//!
//! [host.quic]                         # it answers QUIC on UDP port 443
//! packets = 4                         # so many packets of 1200 bytes for a request
//!
//! # Names beyond the hosts' own.
//! [[record]]
//! name = "cdn.example"
//! a = ["45.140.16.7"]
//! aaaa = []
//! cname = "edge.cdn.example"
//! ttl = 60
//! order = "fixed"                     # or "rotate"
//! give = 2                            # how many addresses an answer holds (default: all)
//!
//! # What people do. Exactly one of visit, lookup, scan, quic.
//! [[conversation]]
//! client = "alice"
//! at = "1s"
//! repeat = 5
//! every = "2s"
//! [conversation.visit]                # a browser: look up, connect, ask, read, leave
//! names = ["news.example"]            # the first time the first name, and so on, round and round
//! scheme = "https"                    # or "http"
//! path = "/"
//! requests = 1                        # one after the other over one connection, `pause` apart
//! pause = "300ms"
//! linger = "0ms"                      # how long it stays after the last answer
//! leave = "close"                     # or "abort" (RST), "stay" (until the server closes)
//! abort_after = 30000                 # closes in mid-answer after so many bytes
//! patience = "20s"                    # gives up after so long without an answer
//! retries = 0                         # tries again after a reset
//! family = "v4"                       # "v6", or "race" (happy eyeballs)
//! to = "site"                         # connects to this host directly instead of looking the name up
//! port = 8080
//! follow = "redirects"                # or "nothing"
//! source_port = 40000
//! upload = 0                          # bytes of a request body
//! pieces = [400, 300]                 # writes the request in pieces of these sizes, `piece_gap` apart
//! piece_gap = "30ms"
//! hello = "usual"                     # or "large" (post-quantum: two segments), "esni", "ech"
//! keep_alive = "2s"                   # probes the idle connection with one byte of garbage
//! [conversation.lookup]               # a stub resolver
//! names = ["news.example"]
//! kinds = ["a"]                       # "a", "aaaa"
//! over = "udp"                        # or "tcp"
//! edns = "offer"                      # or "none"
//! timeout = "5s"
//! attempts = 2
//! resolver = "dns"                    # instead of the host's own
//! [conversation.quic]                 # a browser that tries QUIC
//! names = ["news.example"]
//! to = "site"                         # connects to this host directly
//! patience = "8s"                     # gives up after so long without an answer
//! fallback = false                    # and visits over TCP then
//! [conversation.scan]                 # ZMap: bare SYNs with IP id 54321
//! targets = ["site"]
//! ports = [22, 80, 443]
//! gap = "3ms"
//!
//! # The ISP's filtering equipment. Exactly one of reset, dns, page, drop, inject, blackhole, freeze, throttle, lie,
//! # intercept.
//! [[equipment]]
//! name = "border filter"
//! at = "core"                         # the router it sits at
//! position = "on_path"                # sees a copy and injects; or "in_path": may also drop and rewrite
//! delay = "1500us"                    # how long it takes to react
//! jitter = "100us"
//! [equipment.trigger]                 # any of these in one packet of a client; patterns as in web.site
//! hosts = ["blocked.example"]         # HTTP Host
//! snis = ["*.blocked.example"]
//! qnames = ["blocked.example"]
//! quic_snis = ["blocked.example"]     # the server name in a QUIC Initial
//! hellos = ["esni"]                   # a ClientHello of this form
//! syn_to = ["site"]                   # any SYN to this host
//! [equipment.reset]
//! style = "rst"                       # see `equipment::reset_injector` for the styles
//! towards = "client"                  # "server", "both"
//! ttl = "as_sender"                   # overrides of the style: "mirror", "as_sender", or a number
//! ip_id = "random"                    # or "zero", "trigger", "trigger_plus_one", "counter", or a number
//! manner = "inject"                   # or "rewrite": turns the server's answer into the reset (in_path)
//! [equipment.dns]
//! style = "plain"                     # see `equipment::dns_forger`
//! answers = ["10.10.34.34"]           # a pool, taken in turn
//! rcode = 3                           # instead of an answer
//! over = ["udp"]                      # and "tcp"
//! manner = "race"                     # or "swallow": the query never arrives (in_path)
//! ttl = 64
//! rr_ttl = 300
//! [equipment.page]
//! style = "plain"                     # see `equipment::block_page`
//! status = 302
//! location = "http://warning.example/"
//! text = "<html>…"
//! manner = "race"                     # or "swallow", "rewrite" (in_path)
//! rest = "swallowed"                  # or "passes": with "rewrite", what the server sends after the packet rewritten
//! length = "as_it_comes"              # or "padded": with "rewrite", to that of the packet rewritten
//! ttl = 64
//! [equipment.drop]                    # in_path
//! what = "flow"                       # the trigger and all that follows in the flow; or "packet"
//! sides = "both"                      # or "client": only what the client sends; or "server"
//! lasts = "120s"                      # after the last packet dropped
//! grace = [5, 8]                      # so many packets still pass, the trigger not counted
//! tuple = "four"                      # or "three": the client's later flows to that port as well
//! timer = "prolonged"                 # or "fixed": `lasts` counts from the trigger
//! icmp = { from = "filter", code = 13 }   # says so, in this host's name (IPv6: code 1)
//! [equipment.inject]
//! style = "veto"                      # see `equipment::stream_injector`
//! text = "HTTP/1.1 200 OK…"           # what it puts into the stream
//! alert = 40                          # the TLS alert of style "alert"
//! ttl = 64
//! ip_id = "random"
//! [equipment.blackhole]               # in_path
//! hosts = ["site"]                    # what is cut off; or
//! except = ["domestic"]               # everything but these
//! from = "10s"
//! until = "40s"
//! sides = "both"                      # or "client": only packets to them; or "server"
//! icmp = { from = "filter", code = 13 }
//! [equipment.freeze]                  # in_path; the trigger chooses the flow
//! bytes = [16000, 20000]              # after so much from the server, nothing passes
//! [equipment.throttle]                # in_path; the trigger chooses the flow
//! rate = 140                          # kbit/s, each way
//! burst = 8000                        # bytes
//! queue = "0ms"                       # how long packets may wait; none wait: the rest is dropped
//! [equipment.lie]                     # in_path, before a resolver: its own answers say something else
//! about = "names"                     # of the trigger; or "missing": only where a name does not exist
//! answers = ["10.10.34.34"]
//! to = "portal"                       # a host's address instead
//! alias = "forcesafesearch.example"   # by way of this name
//! rcode = 0
//! explained = 15                      # an extended DNS error (RFC 8914), if the query offered EDNS
//! rr_ttl = 300
//! until = "20s"
//! [equipment.intercept]               # in_path: another certificate in TLS 1.2, for the trigger's server names
//! authority = "qaznet"
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

/// A parsed story. See the module's documentation for the format.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) seed: u64,
    pub(crate) start: Option<toml::value::Datetime>,
    pub(crate) lasts: Option<Span>,
    #[serde(default)]
    pub(crate) blocking: Vec<String>,
    pub(crate) router: Vec<RouterStory>,
    pub(crate) tap: Vec<TapStory>,
    #[serde(default)]
    pub(crate) host: Vec<HostStory>,
    #[serde(default)]
    pub(crate) record: Vec<RecordStory>,
    #[serde(default)]
    pub(crate) equipment: Vec<EquipmentStory>,
    #[serde(default)]
    pub(crate) conversation: Vec<ConversationStory>,
}

/// Why a story cannot be told: where, what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}; {advice}")]
pub struct StoryError {
    /// Line of the story's text, from 1; 0 if it concerns the story as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub advice: String,
}

/// A span of time in a story.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time such as \"12ms\", \"1.5s\", \"150us\" or \"2m\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
                let (number, unit) = text.split_at(split);
                let scale = match unit {
                    "ns" => 1.0,
                    "us" => 1e3,
                    "ms" => 1e6,
                    "s" => 1e9,
                    "m" => 60e9,
                    _ => return Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                };
                match number.trim().parse::<f64>() {
                    Ok(number) if (0.0..1e9).contains(&number) => {
                        Ok(Span(Duration::from_nanos((number * scale).round() as u64)))
                    }
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LinkStory {
    pub(crate) delay: Span,
    pub(crate) jitter: Span,
    pub(crate) loss: f64,
    pub(crate) reorder: f64,
    pub(crate) duplicate: f64,
    pub(crate) hops: u8,
    pub(crate) mtu: Option<usize>,
    pub(crate) rate: Option<u32>,
    pub(crate) burst: usize,
    pub(crate) queue: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouterStory {
    pub(crate) name: Spanned<String>,
    pub(crate) towards: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) link: LinkStory,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sees {
    #[default]
    Both,
    Outward,
    Inward,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mirror {
    #[default]
    Once,
    Twice,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Framing {
    #[default]
    Ethernet,
    Raw,
}

fn default_snaplen() -> u32 {
    262_144
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TapStory {
    pub(crate) at: Spanned<String>,
    pub(crate) towards: Spanned<String>,
    #[serde(default)]
    pub(crate) sees: Sees,
    #[serde(default)]
    pub(crate) mirror: Mirror,
    #[serde(default)]
    pub(crate) loss: f64,
    #[serde(default = "default_snaplen")]
    pub(crate) snaplen: u32,
    pub(crate) vlan: Option<u16>,
    #[serde(default)]
    pub(crate) framing: Framing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Os {
    #[default]
    Linux,
    Windows,
    WindowsXp,
    Mac,
    Freebsd,
    Appliance,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClosedPorts {
    #[default]
    Refuse,
    Ignore,
    Prohibit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LateAnswers {
    #[default]
    Unreachable,
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RenumberingStory {
    #[default]
    Moves,
    Stays,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoveStory {
    pub(crate) at: Span,
    pub(crate) delay: Span,
    #[serde(default)]
    pub(crate) hops: u8,
}

/// A span of the story's time, from `from` to just before `until`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutageStory {
    pub(crate) from: Span,
    pub(crate) until: Span,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostStory {
    pub(crate) name: Spanned<String>,
    pub(crate) at: Spanned<String>,
    #[serde(default)]
    pub(crate) link: LinkStory,
    pub(crate) addresses: Spanned<Vec<IpAddr>>,
    #[serde(default)]
    pub(crate) os: Os,
    pub(crate) resolver: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    #[serde(default)]
    pub(crate) closed_ports: ClosedPorts,
    pub(crate) gate: Option<IpAddr>,
    #[serde(default)]
    pub(crate) late_answers: LateAnswers,
    #[serde(default)]
    pub(crate) renumbering: RenumberingStory,
    #[serde(default)]
    pub(crate) moves: Vec<MoveStory>,
    #[serde(default)]
    pub(crate) outages: Vec<OutageStory>,
    pub(crate) web: Option<WebStory>,
    pub(crate) dns: Option<ResolverStory>,
    pub(crate) quic: Option<QuicServerStory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scheme {
    Http,
    Https,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IdleEnd {
    #[default]
    Fin,
    Reset,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardStory {
    pub(crate) ttl: u8,
    pub(crate) after: Span,
    /// Flows idle that long are forgotten.
    #[serde(default)]
    pub(crate) forgets: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebStory {
    pub(crate) open: Vec<Scheme>,
    pub(crate) think: Span,
    pub(crate) body: usize,
    pub(crate) certificate: usize,
    pub(crate) idle: Span,
    pub(crate) idle_end: IdleEnd,
    pub(crate) server: String,
    pub(crate) window: Option<u32>,
    pub(crate) guard: Option<GuardStory>,
    pub(crate) syn_proxy: Option<u8>,
    pub(crate) tls: TlsVersion,
    pub(crate) authority: Authority,
    pub(crate) site: Vec<SiteStory>,
}

impl Default for WebStory {
    fn default() -> Self {
        Self {
            open: vec![Scheme::Http, Scheme::Https],
            think: Span(Duration::from_millis(8)),
            body: 6000,
            certificate: 2800,
            idle: Span(Duration::from_secs(15)),
            idle_end: IdleEnd::Fin,
            server: "nginx".into(),
            window: None,
            guard: None,
            syn_proxy: None,
            tls: TlsVersion::V13,
            authority: Authority::LetsEncrypt,
            site: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyFraming {
    #[default]
    Length,
    Chunked,
    Close,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Connection {
    #[default]
    KeepAlive,
    Close,
    /// With the packet that ends the answer.
    CloseAtOnce,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SiteStory {
    pub(crate) names: Vec<String>,
    pub(crate) status: Option<u16>,
    pub(crate) location: Option<String>,
    pub(crate) body: Option<usize>,
    pub(crate) text: Option<String>,
    /// What Content-Length says where it does not tell the truth.
    pub(crate) declares: Option<usize>,
    pub(crate) framing: BodyFraming,
    pub(crate) headers: Vec<String>,
    pub(crate) connection: Connection,
    pub(crate) server: Option<String>,
    pub(crate) refuse_sni: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdnsHabit {
    #[default]
    Echo,
    Ignore,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DelayStory {
    pub(crate) name: String,
    pub(crate) by: Span,
    pub(crate) times: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResolverStory {
    pub(crate) latency: Span,
    pub(crate) recursion: Span,
    pub(crate) edns: EdnsHabit,
    pub(crate) dns64: Option<Ipv6Addr>,
    pub(crate) upstreams: Vec<Spanned<String>>,
    pub(crate) record: Vec<RecordStory>,
    pub(crate) delays: Vec<DelayStory>,
}

impl Default for ResolverStory {
    fn default() -> Self {
        Self {
            latency: Span(Duration::from_millis(1)),
            recursion: Span(Duration::from_millis(20)),
            edns: EdnsHabit::Echo,
            dns64: None,
            upstreams: Vec::new(),
            record: Vec::new(),
            delays: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordOrder {
    #[default]
    Fixed,
    Rotate,
}

fn default_record_ttl() -> u32 {
    300
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordStory {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) a: Vec<std::net::Ipv4Addr>,
    #[serde(default)]
    pub(crate) aaaa: Vec<Ipv6Addr>,
    pub(crate) cname: Option<String>,
    #[serde(default = "default_record_ttl")]
    pub(crate) ttl: u32,
    #[serde(default)]
    pub(crate) order: RecordOrder,
    pub(crate) give: Option<usize>,
}

fn once() -> u32 {
    1
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConversationStory {
    pub(crate) client: Spanned<String>,
    pub(crate) at: Span,
    #[serde(default = "once")]
    pub(crate) repeat: u32,
    #[serde(default)]
    pub(crate) every: Span,
    pub(crate) visit: Option<VisitStory>,
    pub(crate) lookup: Option<LookupStory>,
    pub(crate) scan: Option<ScanStory>,
    pub(crate) quic: Option<QuicStory>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Leave {
    #[default]
    Close,
    Abort,
    Stay,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    #[default]
    V4,
    V6,
    Race,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Follow {
    #[default]
    Redirects,
    Nothing,
}

/// Which ClientHello a browser sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HelloStory {
    /// 517 bytes, one segment.
    #[default]
    Usual,
    /// With a post-quantum key share: two segments.
    Large,
    /// With an encrypted server name (extension 0xffce) and none in the clear.
    Esni,
    /// With an encrypted ClientHello inside (extension 0xfe0d); the name in the clear is the outer one.
    Ech,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VisitStory {
    pub(crate) names: Vec<String>,
    pub(crate) scheme: Scheme,
    pub(crate) path: String,
    pub(crate) requests: u32,
    pub(crate) pause: Span,
    pub(crate) linger: Span,
    pub(crate) leave: Leave,
    pub(crate) abort_after: Option<usize>,
    pub(crate) patience: Span,
    pub(crate) retries: u32,
    pub(crate) family: Family,
    pub(crate) to: Option<Spanned<String>>,
    pub(crate) port: Option<u16>,
    pub(crate) follow: Follow,
    pub(crate) source_port: Option<u16>,
    pub(crate) upload: usize,
    pub(crate) pieces: Vec<usize>,
    pub(crate) piece_gap: Span,
    pub(crate) hello: HelloStory,
    pub(crate) keep_alive: Option<Span>,
}

impl Default for VisitStory {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            scheme: Scheme::Https,
            path: "/".into(),
            requests: 1,
            pause: Span(Duration::from_millis(300)),
            linger: Span(Duration::ZERO),
            leave: Leave::Close,
            abort_after: None,
            patience: Span(Duration::from_secs(20)),
            retries: 0,
            family: Family::V4,
            to: None,
            port: None,
            follow: Follow::Redirects,
            source_port: None,
            upload: 0,
            pieces: Vec::new(),
            piece_gap: Span(Duration::from_millis(30)),
            hello: HelloStory::Usual,
            keep_alive: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordKind {
    A,
    Aaaa,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    #[default]
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdnsOffer {
    #[default]
    Offer,
    None,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LookupStory {
    pub(crate) names: Vec<String>,
    pub(crate) kinds: Vec<RecordKind>,
    pub(crate) over: Over,
    pub(crate) edns: EdnsOffer,
    pub(crate) timeout: Span,
    pub(crate) attempts: u32,
    pub(crate) resolver: Option<Spanned<String>>,
}

impl Default for LookupStory {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            kinds: vec![RecordKind::A],
            over: Over::Udp,
            edns: EdnsOffer::Offer,
            timeout: Span(Duration::from_secs(5)),
            attempts: 2,
            resolver: None,
        }
    }
}

/// A visit over QUIC.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuicStory {
    pub(crate) names: Vec<String>,
    pub(crate) to: Option<Spanned<String>>,
    pub(crate) patience: Span,
    pub(crate) fallback: bool,
}

impl Default for QuicStory {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            to: None,
            patience: Span(Duration::from_secs(8)),
            fallback: false,
        }
    }
}

/// What a QUIC server does.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuicServerStory {
    pub(crate) packets: u32,
}

impl Default for QuicServerStory {
    fn default() -> Self {
        Self { packets: 4 }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScanStory {
    pub(crate) targets: Vec<Spanned<String>>,
    pub(crate) ports: Vec<u16>,
    pub(crate) gap: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Position {
    OnPath,
    InPath,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TriggerStory {
    pub(crate) hosts: Vec<String>,
    pub(crate) snis: Vec<String>,
    pub(crate) qnames: Vec<String>,
    pub(crate) quic_snis: Vec<String>,
    pub(crate) hellos: Vec<HelloStory>,
    pub(crate) syn_to: Vec<Spanned<String>>,
}

fn default_reaction() -> Span {
    Span(Duration::from_micros(1500))
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EquipmentStory {
    pub(crate) name: Spanned<String>,
    pub(crate) at: Spanned<String>,
    pub(crate) position: Position,
    #[serde(default = "default_reaction")]
    pub(crate) delay: Span,
    #[serde(default)]
    pub(crate) jitter: Span,
    #[serde(default)]
    pub(crate) trigger: TriggerStory,
    pub(crate) reset: Option<ResetStory>,
    pub(crate) dns: Option<DnsForgerStory>,
    pub(crate) page: Option<PageStory>,
    pub(crate) drop: Option<DropStory>,
    pub(crate) inject: Option<InjectStory>,
    pub(crate) blackhole: Option<BlackholeStory>,
    pub(crate) freeze: Option<FreezeStory>,
    pub(crate) throttle: Option<ThrottleStory>,
    pub(crate) lie: Option<LieStory>,
    pub(crate) intercept: Option<InterceptStory>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Towards {
    #[default]
    Client,
    Server,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TtlWord {
    Mirror,
    AsSender,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum TtlStory {
    Fixed(u8),
    Word(TtlWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IpIdWord {
    Random,
    Zero,
    Trigger,
    TriggerPlusOne,
    Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum IpIdStory {
    Fixed(u16),
    Word(IpIdWord),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Manner {
    /// A copy triggers; the genuine packets go their way.
    #[default]
    #[serde(alias = "inject")]
    Race,
    /// The trigger is swallowed, the flow cut, and the equipment answers itself.
    Swallow,
    /// The trigger passes; the server's first answer is rewritten, and the rest swallowed as a rule.
    Rewrite,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResetStyle {
    #[default]
    Rst,
    RstAck,
    GfwType1,
    GfwStepped,
    GfwSame,
    GfwSyn,
    Sandvine,
    Turkmenistan,
    Henan,
    Reflecting,
    ReflectingReserved,
    Iran,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResetStory {
    pub(crate) style: ResetStyle,
    pub(crate) towards: Option<Towards>,
    pub(crate) ttl: Option<TtlStory>,
    pub(crate) ip_id: Option<IpIdStory>,
    pub(crate) manner: Manner,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DnsStyle {
    #[default]
    Plain,
    GfwTriplet,
    Iran,
    Turkmenistan,
    TurkmenistanOld,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DnsForgerStory {
    pub(crate) style: DnsStyle,
    pub(crate) answers: Vec<IpAddr>,
    pub(crate) rcode: Option<u8>,
    pub(crate) over: Vec<Over>,
    pub(crate) manner: Manner,
    pub(crate) ttl: Option<u8>,
    pub(crate) rr_ttl: u32,
}

impl Default for DnsForgerStory {
    fn default() -> Self {
        Self {
            style: DnsStyle::Plain,
            answers: Vec::new(),
            rcode: None,
            over: vec![Over::Udp],
            manner: Manner::Race,
            ttl: None,
            rr_ttl: 300,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PageStyle {
    #[default]
    Plain,
    Airtel,
    Iran,
    PacketLogic,
    SurfSafely,
}

/// What becomes of the rest of an answer whose first packet was rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RestStory {
    #[default]
    Swallowed,
    /// It goes on, with the sequence numbers it has.
    Passes,
}

/// How long a rewritten packet is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LengthStory {
    #[default]
    AsItComes,
    /// As long as it was, if what is put into it is not longer.
    Padded,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PageStory {
    pub(crate) style: PageStyle,
    pub(crate) status: Option<u16>,
    pub(crate) location: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) manner: Manner,
    pub(crate) rest: RestStory,
    pub(crate) length: LengthStory,
    pub(crate) ttl: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DropWhat {
    #[default]
    Flow,
    Packet,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DropSides {
    #[default]
    Both,
    Client,
    Server,
}

/// What of a flow a block remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TupleStory {
    /// Both addresses and both ports.
    #[default]
    Four,
    /// Both addresses and the server's port.
    Three,
}

/// Whether packets that meet a block prolong it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimerStory {
    /// Every one of them.
    #[default]
    Prolonged,
    /// None: it runs from the trigger.
    Fixed,
}

/// An ICMP "administratively prohibited" for what is dropped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IcmpStory {
    pub(crate) from: Spanned<String>,
    pub(crate) code: u8,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DropStory {
    pub(crate) what: DropWhat,
    pub(crate) sides: DropSides,
    pub(crate) lasts: Span,
    pub(crate) grace: Option<[u32; 2]>,
    pub(crate) tuple: TupleStory,
    pub(crate) timer: TimerStory,
    pub(crate) icmp: Option<IcmpStory>,
}

impl Default for DropStory {
    fn default() -> Self {
        // Wire-facts 7.1: Kazakhstan, HTTP and SNI, 120 s.
        Self {
            what: DropWhat::Flow,
            sides: DropSides::Both,
            lasts: Span(Duration::from_secs(120)),
            grace: None,
            tuple: TupleStory::Four,
            timer: TimerStory::Prolonged,
            icmp: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InjectStyle {
    #[default]
    Veto,
    Spray,
    Coalesce,
    Hijack,
    Reflect,
    Fin,
    Alert,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct InjectStory {
    pub(crate) style: InjectStyle,
    pub(crate) text: Option<String>,
    pub(crate) alert: Option<u8>,
    pub(crate) ttl: Option<TtlStory>,
    pub(crate) ip_id: Option<IpIdStory>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BlackholeStory {
    pub(crate) hosts: Vec<Spanned<String>>,
    pub(crate) except: Vec<Spanned<String>>,
    pub(crate) from: Span,
    pub(crate) until: Option<Span>,
    pub(crate) sides: DropSides,
    pub(crate) icmp: Option<IcmpStory>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreezeStory {
    pub(crate) bytes: [u64; 2],
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThrottleStory {
    pub(crate) rate: u32,
    pub(crate) burst: usize,
    #[serde(default)]
    pub(crate) queue: Span,
}

/// Which of the resolver's answers are falsified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LieAbout {
    /// All to the listed names.
    #[default]
    Names,
    /// Those that say that a name does not exist.
    Missing,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LieStory {
    pub(crate) about: LieAbout,
    pub(crate) answers: Vec<IpAddr>,
    pub(crate) to: Option<Spanned<String>>,
    pub(crate) alias: Option<String>,
    pub(crate) rcode: u8,
    pub(crate) explained: Option<u16>,
    pub(crate) rr_ttl: u32,
    pub(crate) until: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InterceptStory {
    pub(crate) authority: Authority,
}

/// Who signs a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Authority {
    /// A public authority.
    #[default]
    LetsEncrypt,
    /// Another public authority.
    Digicert,
    /// Kazakhstan 2019 (wire-facts 3.4).
    Qaznet,
    /// Kazakhstan 2020 and later (wire-facts 3.4).
    Isca,
    /// A firewall's own authority, as enterprises install it (wire-facts 5.5).
    Fortinet,
    /// The server itself.
    Own,
}

/// Which version of TLS a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum TlsVersion {
    /// TLS 1.3: the certificate is encrypted.
    #[default]
    #[serde(rename = "1.3")]
    V13,
    /// TLS 1.2: the certificate can be read.
    #[serde(rename = "1.2")]
    V12,
}

impl Story {
    /// Reads a story from TOML.
    ///
    /// # Errors
    ///
    /// [`StoryError`] with the line, when the text is no TOML, a key is unknown, a value has the wrong form, or the
    /// parts do not fit together (an undefined name, a tap on no link, dropping equipment that is not in the path).
    pub fn parse(text: &str) -> Result<Self, StoryError> {
        let story: Self = toml::from_str(text).map_err(|error| StoryError {
            line: error.span().map_or(0, |span| line_of(text, span.start)),
            problem: error.message().replace('\n', " "),
            advice: "see the story format in the documentation of scenario::story".into(),
        })?;
        Check { story: &story, text }.all()?;
        Ok(story)
    }

    /// The story's one-line title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The kinds of blocking that are at work, by the names a reader gives them; empty if the story does not say.
    pub fn blocking(&self) -> &[String] {
        &self.blocking
    }

    /// How much filtering equipment it has.
    pub fn equipment_count(&self) -> usize {
        self.equipment.len()
    }

    /// Seconds since the Unix epoch at which the story begins; 2026-01-10T08:00:00Z unless it says otherwise.
    pub(crate) fn start_seconds(&self) -> u64 {
        let civil = self.start.as_ref().and_then(|start| {
            let (date, time) = (start.date?, start.time?);
            let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
            let seconds =
                i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
            u64::try_from(days * 86_400 + seconds).ok()
        });
        civil.unwrap_or(1_768_032_000)
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

const LARGEST_BODY: usize = 16 << 20;
/// A record holds 16 384 bytes (RFC 8446 section 5.1), some of them overhead.
const LARGEST_CERTIFICATE: usize = 16_000;
const MOST_REPETITIONS: u32 = 100_000;

struct Check<'a> {
    story: &'a Story,
    text: &'a str,
}

impl Check<'_> {
    fn all(&self) -> Result<(), StoryError> {
        self.network()?;
        self.hosts()?;
        self.sizes()?;
        self.equipment()?;
        self.conversations()
    }

    fn error(&self, at: &Spanned<String>, problem: String, advice: &str) -> StoryError {
        StoryError {
            line: line_of(self.text, at.span().start),
            problem,
            advice: advice.into(),
        }
    }

    fn is_router(&self, name: &str) -> bool {
        self.story.router.iter().any(|router| router.name.get_ref() == name)
    }

    fn host(&self, name: &str) -> Option<&HostStory> {
        self.story.host.iter().find(|host| host.name.get_ref() == name)
    }

    fn known_host(&self, name: &Spanned<String>) -> Result<&HostStory, StoryError> {
        self.host(name.get_ref()).ok_or_else(|| {
            self.error(
                name,
                format!("there is no host `{}`", name.get_ref()),
                "define it as a [[host]] or correct the name",
            )
        })
    }

    fn known_router(&self, name: &Spanned<String>) -> Result<(), StoryError> {
        if self.is_router(name.get_ref()) {
            return Ok(());
        }
        let problem = format!("there is no router `{}`", name.get_ref());
        Err(self.error(name, problem, "define it as a [[router]] or correct the name"))
    }

    fn network(&self) -> Result<(), StoryError> {
        let mut seen: Vec<&str> = Vec::new();
        for name in self
            .story
            .router
            .iter()
            .map(|router| &router.name)
            .chain(self.story.host.iter().map(|host| &host.name))
        {
            if seen.contains(&name.get_ref().as_str()) {
                let problem = format!("two routers or hosts are called `{}`", name.get_ref());
                return Err(self.error(name, problem, "give each its own name"));
            }
            seen.push(name.get_ref());
        }
        let roots: Vec<_> = self
            .story
            .router
            .iter()
            .filter(|router| router.towards.is_none())
            .collect();
        let Some(first) = self.story.router.first() else {
            return Err(StoryError {
                line: 0,
                problem: "no [[router]]".into(),
                advice: "define at least one".into(),
            });
        };
        if roots.len() != 1 {
            let problem = format!("{} routers have no `towards`", roots.len());
            return Err(self.error(&first.name, problem, "leave it out for exactly one, the root"));
        }
        for router in &self.story.router {
            let mut at = router;
            let mut steps = 0;
            while let Some(towards) = &at.towards {
                self.known_router(towards)?;
                at = self
                    .story
                    .router
                    .iter()
                    .find(|other| other.name.get_ref() == towards.get_ref())
                    .unwrap_or(at);
                steps += 1;
                if steps > self.story.router.len() {
                    return Err(self.error(
                        &router.name,
                        "routers lead in a circle".into(),
                        "let all lead to the root",
                    ));
                }
            }
        }
        if self.story.tap.is_empty() {
            return Err(StoryError {
                line: 0,
                problem: "no [[tap]]".into(),
                advice: "define at least one".into(),
            });
        }
        for tap in &self.story.tap {
            self.known_router(&tap.at)?;
            let (at, other) = (tap.at.get_ref(), tap.towards.get_ref());
            let linked = self.story.router.iter().any(|router| {
                router.towards.as_ref().is_some_and(|up| {
                    (router.name.get_ref(), up.get_ref()) == (at, other)
                        || (up.get_ref(), router.name.get_ref()) == (at, other)
                })
            }) || self.host(other).is_some_and(|host| host.at.get_ref() == at);
            if !linked {
                let problem = format!("`{at}` and `{other}` are not neighbours");
                return Err(self.error(&tap.towards, problem, "put the tap on a link of the network"));
            }
        }
        Ok(())
    }

    fn hosts(&self) -> Result<(), StoryError> {
        for host in &self.story.host {
            self.known_router(&host.at)?;
            let addresses = host.addresses.get_ref();
            let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
            if addresses.is_empty() || v4 > 1 || addresses.len() - v4 > 1 {
                let problem = format!("`{}` needs one address, or one of each IP version", host.name.get_ref());
                return Err(self.error(&host.name, problem, "correct `addresses`"));
            }
            for resolver in host
                .resolver
                .iter()
                .chain(host.dns.iter().flat_map(|dns| &dns.upstreams))
            {
                if self.known_host(resolver)?.dns.is_none() {
                    let problem = format!("`{}` answers no DNS", resolver.get_ref());
                    return Err(self.error(resolver, problem, "give it a [host.dns] table"));
                }
            }
        }
        Ok(())
    }

    /// Sizes a story may not exceed, so that a slip of the pen does not fill the memory.
    fn sizes(&self) -> Result<(), StoryError> {
        for host in &self.story.host {
            let Some(web) = &host.web else { continue };
            let bodies = web.site.iter().filter_map(|site| site.body).chain([web.body]);
            if bodies.max().is_some_and(|body| body > LARGEST_BODY) {
                return Err(self.error(&host.name, "a body beyond 16 MiB".into(), "make `body` smaller"));
            }
            if web.certificate > LARGEST_CERTIFICATE {
                let problem = "a certificate message that fits no TLS record".into();
                return Err(self.error(&host.name, problem, "keep `certificate` at 16000 bytes or below"));
            }
        }
        for conversation in &self.story.conversation {
            if conversation.repeat > MOST_REPETITIONS {
                let problem = format!("{} repetitions", conversation.repeat);
                return Err(self.error(&conversation.client, problem, "keep `repeat` at 100000 or below"));
            }
            if conversation
                .visit
                .as_ref()
                .is_some_and(|visit| visit.upload > LARGEST_BODY)
            {
                return Err(self.error(
                    &conversation.client,
                    "an upload beyond 16 MiB".into(),
                    "make `upload` smaller",
                ));
            }
        }
        Ok(())
    }

    fn equipment(&self) -> Result<(), StoryError> {
        for box_ in &self.story.equipment {
            self.known_router(&box_.at)?;
            let drop_icmp = box_.drop.iter().filter_map(|drop| drop.icmp.as_ref());
            let hole_icmp = box_.blackhole.iter().filter_map(|hole| hole.icmp.as_ref());
            let named = (box_.trigger.syn_to.iter())
                .chain(
                    box_.blackhole
                        .iter()
                        .flat_map(|hole| hole.hosts.iter().chain(&hole.except)),
                )
                .chain(drop_icmp.chain(hole_icmp).map(|icmp| &icmp.from))
                .chain(box_.lie.iter().filter_map(|lie| lie.to.as_ref()));
            for host in named {
                self.known_host(host)?;
            }
            let kinds = [
                box_.reset.is_some(),
                box_.dns.is_some(),
                box_.page.is_some(),
                box_.drop.is_some(),
                box_.inject.is_some(),
                box_.blackhole.is_some(),
                box_.freeze.is_some(),
                box_.throttle.is_some(),
                box_.lie.is_some(),
                box_.intercept.is_some(),
            ];
            if kinds.iter().filter(|kind| **kind).count() != 1 {
                let problem = format!("`{}` does not do exactly one thing", box_.name.get_ref());
                return Err(self.error(&box_.name, problem, "see the story format for what it may do"));
            }
            let manner = [
                box_.reset.as_ref().map(|reset| reset.manner),
                box_.dns.as_ref().map(|dns| dns.manner),
                box_.page.as_ref().map(|page| page.manner),
            ];
            let in_path_only = [
                box_.drop.is_some(),
                box_.blackhole.is_some(),
                box_.freeze.is_some(),
                box_.throttle.is_some(),
                box_.lie.is_some(),
                box_.intercept.is_some(),
            ];
            let touches =
                in_path_only.contains(&true) || manner.into_iter().flatten().any(|manner| manner != Manner::Race);
            if touches && box_.position == Position::OnPath {
                let problem = format!(
                    "`{}` drops or rewrites packets it only sees a copy of",
                    box_.name.get_ref()
                );
                return Err(self.error(&box_.name, problem, "set position = \"in_path\" or manner = \"race\""));
            }
        }
        Ok(())
    }

    fn conversations(&self) -> Result<(), StoryError> {
        for conversation in &self.story.conversation {
            let client = self.known_host(&conversation.client)?;
            let at = &conversation.client;
            let kinds = [
                conversation.visit.is_some(),
                conversation.lookup.is_some(),
                conversation.scan.is_some(),
                conversation.quic.is_some(),
            ];
            if kinds.iter().filter(|kind| **kind).count() != 1 {
                let problem = "a conversation that is not exactly one of visit, lookup, scan, quic".into();
                return Err(self.error(at, problem, "give it one of these tables"));
            }
            if let Some(visit) = &conversation.visit {
                if visit.names.is_empty() {
                    return Err(self.error(at, "a visit to nowhere".into(), "name at least one name in `names`"));
                }
                match &visit.to {
                    Some(to) => drop(self.known_host(to)?),
                    None if client.resolver.is_none() => {
                        let problem = format!("`{}` has no resolver", at.get_ref());
                        return Err(self.error(at, problem, "give the host a `resolver` or the visit a `to`"));
                    }
                    None => {}
                }
            }
            if let Some(quic) = &conversation.quic {
                if quic.names.is_empty() || quic.to.is_none() && client.resolver.is_none() {
                    let problem = "a visit over QUIC that leads nowhere".into();
                    return Err(self.error(
                        at,
                        problem,
                        "fill `names`, and give the host a `resolver` or the visit a `to`",
                    ));
                }
                if let Some(to) = &quic.to {
                    self.known_host(to)?;
                }
            }
            if let Some(lookup) = &conversation.lookup {
                if lookup.names.is_empty() || lookup.kinds.is_empty() {
                    return Err(self.error(at, "a lookup of nothing".into(), "fill `names` and `kinds`"));
                }
                match &lookup.resolver {
                    Some(resolver) => drop(self.known_host(resolver)?),
                    None if client.resolver.is_none() => {
                        let problem = format!("`{}` has no resolver", at.get_ref());
                        return Err(self.error(at, problem, "give the host or the lookup a `resolver`"));
                    }
                    None => {}
                }
            }
            for target in conversation.scan.iter().flat_map(|scan| &scan.targets) {
                self.known_host(target)?;
            }
        }
        Ok(())
    }
}

/// Whether a name matches a pattern: itself, `*.suffix` for anything below, `*` for everything.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => name.len() > suffix.len() && name.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase()),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
title = "small"
[[router]]
name = "core"
[[tap]]
at = "core"
towards = "alice"
[[host]]
name = "alice"
at = "core"
addresses = ["10.0.0.1"]
"#;

    #[test]
    fn a_small_story_is_read() {
        let story = Story::parse(SMALL).unwrap();
        assert_eq!(story.title(), "small");
        assert_eq!(story.start_seconds(), 1_768_032_000);
    }

    #[test]
    fn an_undefined_name_is_an_error_with_its_line() {
        let error = Story::parse(&SMALL.replace("towards = \"alice\"", "towards = \"bob\"")).unwrap_err();
        assert_eq!(
            (error.line, error.problem.as_str()),
            (7, "`core` and `bob` are not neighbours")
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = Story::parse(&format!("{SMALL}colour = \"red\"\n")).unwrap_err();
        assert_eq!(error.line, 12);
        assert!(error.problem.contains("colour"), "{error}");
    }

    #[test]
    fn a_box_beside_the_path_cannot_drop() {
        let text =
            format!("{SMALL}\n[[equipment]]\nname = \"x\"\nat = \"core\"\nposition = \"on_path\"\n[equipment.drop]\n");
        let error = Story::parse(&text).unwrap_err();
        assert!(error.advice.contains("in_path"), "{error}");
    }

    #[test]
    fn sizes_beyond_reason_are_refused() {
        let text = format!("{SMALL}[host.web]\nbody = 99999999999\n");
        assert!(Story::parse(&text).unwrap_err().problem.contains("16 MiB"));
        let text = format!("{SMALL}[host.web]\ncertificate = 20000\n");
        assert_eq!(Story::parse(&text).unwrap_err().line, 9);
    }

    #[test]
    fn spans_are_read_in_their_units() {
        let read = |text: &str| {
            let wrapped = format!("lasts = \"{text}\"\n{SMALL}");
            Story::parse(&wrapped).map(|story| story.lasts.unwrap().0)
        };
        assert_eq!(read("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(read("150us"), Ok(Duration::from_micros(150)));
        assert!(read("12").is_err() && read("-1s").is_err() && read("3 weeks").is_err());
    }

    #[test]
    fn a_date_becomes_seconds() {
        let story = Story::parse(&format!("start = 2008-10-08T05:00:00Z\n{SMALL}")).unwrap();
        assert_eq!(story.start_seconds(), 1_223_442_000);
    }

    #[test]
    fn patterns_cover_what_lies_below() {
        assert!(matches("*.livejournal.com", "one.livejournal.com"));
        assert!(!matches("*.livejournal.com", "livejournal.com"));
        assert!(matches("*", "anything") && matches("A.example", "a.example"));
    }
}

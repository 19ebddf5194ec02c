//! Payloads made once and used by many flows.

use crate::scenario::chance::Chance;
use crate::scenario::story::HelloStory;
use crate::scenario::tls::{Role, TlsSide};
use crate::scenario::{dns, http, quic};

/// How many names are visited.
const NAMES: usize = 512;

/// The first datagrams of a QUIC connection.
pub(super) struct QuicOpening {
    pub(super) client: Vec<u8>,
    pub(super) server: Vec<u8>,
    pub(super) client_id: [u8; 8],
    pub(super) server_id: [u8; 8],
}

/// All payloads.
pub(super) struct Pool {
    pub(super) names: Vec<String>,
    pub(super) hellos: Vec<Vec<u8>>,
    pub(super) flights: Vec<Vec<u8>>,
    pub(super) requests: Vec<Vec<u8>>,
    pub(super) answer: Vec<u8>,
    pub(super) questions: Vec<(Vec<u8>, dns::Question)>,
    pub(super) openings: Vec<QuicOpening>,
    /// What is encrypted, or an image: bytes that mean nothing.
    pub(super) noise: Vec<u8>,
}

impl Pool {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let names: Vec<_> = (0..NAMES)
            .map(|number| format!("www{number}.site-{}.example", number % 61))
            .collect();
        let hellos = names
            .iter()
            .map(|name| TlsSide::new(Role::Client).client_hello(name, HelloStory::Usual, chance))
            .collect();
        let flights = (0..16)
            .map(|_| TlsSide::new(Role::Server).server_flight(2300, chance))
            .collect();
        let requests = names
            .iter()
            .map(|name| http::request(name, "/index.html", 0, "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"))
            .collect();
        let answer = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: image/png\r\nContent-Length: 100000000\r\n\
            Connection: keep-alive\r\n\r\n"
            .to_vec();
        let questions = names
            .iter()
            .filter_map(|name| {
                let query = dns::query(chance.half(), name, dns::rr::A, true);
                dns::read_question(&query).map(|question| (query, question))
            })
            .collect();
        let openings = names
            .iter()
            .take(64)
            .map(|name| {
                let mut id = || chance.next().to_be_bytes();
                let (first, client_id, server_id) = (id(), id(), id());
                let hello = quic::hello(name, chance);
                QuicOpening {
                    client: quic::client_initial((&first, &client_id), 0, &hello),
                    server: quic::server_first(&first, (&client_id, &server_id), chance),
                    client_id,
                    server_id,
                }
            })
            .collect();
        Self {
            names,
            hellos,
            flights,
            requests,
            answer,
            questions,
            openings,
            noise: chance.bytes(1 << 16),
        }
    }

    /// So many bytes that mean nothing.
    pub(super) fn noise(&self, len: usize, chance: &mut Chance) -> &[u8] {
        let at = chance.below((self.noise.len() - len) as u64) as usize;
        &self.noise[at..at + len]
    }
}

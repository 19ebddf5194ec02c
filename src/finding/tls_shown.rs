//! What a server showed of itself in one TLS handshake, kept small, so that the ledger can compare handshakes: who
//! vouched for a name when, and which version it was given.

use std::net::IpAddr;

use crate::packet::frame::FrameNumber;

/// Who vouches for a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Standing {
    /// No certificate was seen: TLS 1.3 encrypts it, a resumed session has none.
    #[default]
    Unseen,
    /// An authority that works for the public.
    Public,
    /// Nobody known: a private authority, or the server itself.
    Unlisted,
    /// An authority that a product makes up where it inspects TLS.
    Product,
    /// An authority known to intercept.
    Interceptor,
}

/// Where the ServerHello came from, by its TTL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// Either packet was not seen.
    #[default]
    Unknown,
    /// From where the SYN-ACK came from.
    AsTheHandshake,
    /// From another place than the SYN-ACK.
    Elsewhere,
}

/// The version agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Agreed {
    /// An older one; the client offered no other, or the server marked that it could do better.
    #[default]
    Older,
    /// An older one, though the client offered TLS 1.3, and without the mark a TLS 1.3 server owes then (RFC 8446 4.1.3).
    Fell,
    /// TLS 1.3.
    Tls13,
}

/// What one TLS handshake showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TlsShown {
    /// The first frame of the flow, which names it.
    pub flow: FrameNumber,
    /// Who asked.
    pub client: IpAddr,
    /// Who was asked.
    pub server: IpAddr,
    /// The server name asked for, as [`hash_dotted`](crate::payload::dns_name::hash_dotted) gives it; 0 for none.
    pub name: u64,
    /// What was agreed on.
    pub agreed: Agreed,
    /// Who vouched for the server.
    pub standing: Standing,
    /// Where the ServerHello came from.
    pub origin: Origin,
}

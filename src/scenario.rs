//! The forge: a small simulated network with people, servers and the ISP's filtering equipment, and what a tap on one
//! of its links sees, written as a capture file.
//!
//! It is an independent witness. It imports nothing of the side that dissects and detects: packets, DNS, HTTP and TLS
//! are written here a second time, so that a mistake over there finds no accomplice. What is simulated is honest: real
//! endpoints that retransmit, acknowledge and refuse as kernels do; equipment that sees a copy and races, or sits in the
//! path and drops. A forged packet is answered by whoever receives it, and the traces of that are what a reader of
//! captures has to work with.
//!
//! ```text
//! story.toml ─► story ─► forge ─► network ── hosts ── conversations, servers, kernels' TCP
//!                          │         ├────── equipment (pass, drop, rewrite, inject)
//!                          │         └────── taps
//!                          └─► capture file, and the truth about every frame
//! ```
//!
//! [`bulk`] writes captures of any size by script, to measure speed with. [`on_wire`] shows the same equipment packets of
//! a real network.
//!
//! Everything is drawn from one seed; the same story gives the same bytes. No clock is read and no hash map iterated.

pub mod bulk;
mod capture_writer;
mod certificate;
mod chance;
mod conversation;
mod datagram;
mod datagram_reader;
mod dns;
mod equipment;
mod filtering_equipment;
pub mod forge;
mod host;
mod http;
mod network;
pub mod on_wire;
mod quic;
pub mod quic_peer;
mod quic_visit;
pub mod renumbering;
mod server;
mod sim_time;
pub mod story;
mod tcp_endpoint;
mod tls;
mod token_bucket;

pub use forge::{
    DropCause, DropTruth, ForgeOptions, Forged, FrameTruth, HeldTruth, Making, Truth, forge, forge_with_truth,
};
pub use renumbering::Renumbering;
pub use story::{Story, StoryError};

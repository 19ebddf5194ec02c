//! What a packet is, from the frame a capture holds to the borrowed [`packet::Packet`] the detectors see.
//!
//! A [`frame::Frame`] is bytes with a number, a time and a link type. [`link::network_header`] peels what lies below
//! IP, [`dissect::dissect`] reads the rest in place with etherparse's header slices; the outcome is a packet or a
//! counted [`dissect::Undissected`]. Nothing here keeps state, allocates, or knows what a flow is.

pub mod community_id;
pub mod dissect;
pub mod endpoint;
pub mod frame;
pub mod host_pair;
pub mod link;
#[allow(clippy::module_inception, reason = "the noun of this file is the packet")]
pub mod packet;
pub mod path_marks;

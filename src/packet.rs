//! What a packet is, from the frame a capture holds to the borrowed [`Packet`](packet::Packet) the detectors see.
//!
//! A [`frame::Frame`] is bytes with a number, a time and a link type. Dissecting it gives a packet or a counted reason
//! why not; nothing here keeps state, allocates, or knows what a flow is.

pub mod community_id;
pub mod frame;

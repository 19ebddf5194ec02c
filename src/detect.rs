//! The judges: one file a kind of blocking, all behind the [`detector::Detector`] seam and listed in
//! [`detector_set::DetectorSet`].
//!
//! A detector is shown every packet of a flow before the flow learns it, keeps what it must in a memory of its own
//! beside the flow, and files a finding when the flow is concluded or its suspicion is due. It never sees a thread, a
//! file or a clock. Facts about known boxes and pages lie in [`packs`], apart from the code.

pub mod block_page;
pub mod captive_portal;
pub mod detector;
pub mod detector_set;
pub mod dns_injection;
pub mod filing;
pub mod fin_injection;
pub mod icmp_prohibited;
pub mod ip_blackhole;
pub mod packs;
pub mod payload_injection;
pub mod provenance;
pub mod quic_drop;
pub mod rst_injection;
pub mod signature;
pub mod silent_drop;
mod stall;
#[cfg(test)]
mod stream_stories;
pub mod syn_ack_injection;
pub mod throttling;
pub mod tls_alert_injection;
pub mod tls_interception;
#[cfg(test)]
pub(crate) mod trial;
pub mod volume_freeze;

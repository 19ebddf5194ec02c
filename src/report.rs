//! How findings are told: to a person, or to a machine. One file a format, behind the [`sink::Sink`] seam.

pub mod sink;

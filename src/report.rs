//! How findings are told: to a person, or to a machine. One file a format, behind the [`sink::Sink`] seam.
//!
//! [`text::Text`] writes what a newcomer can read, [`eve::Eve`] writes one JSON object a line. A sink gets the findings in
//! capture order and then the summary; it judges nothing and knows no packet. Whatever came from the wire goes to a
//! terminal only through [`escape`].

pub mod balance;
pub mod escape;
pub mod eve;
pub mod figures;
pub mod replacement;
#[cfg(test)]
pub(crate) mod sample;
pub mod sink;
pub mod text;
pub mod threshold;

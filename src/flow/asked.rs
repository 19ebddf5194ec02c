//! What the client asked for: the packet most likely to set a box off, and the name it carried.

use super::name_text::NameText;
use crate::finding::finding::{Application, Trigger, TriggerKind};
use crate::packet::frame::FrameNumber;
use crate::packet::packet::SequenceNumber;
use crate::packet::path_marks::PathMarks;
use crate::payload::tls_client_hello::EncryptedName;
use crate::time::Timestamp;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which field carried the name.
    pub kind: TriggerKind,
    /// The name, lower case; empty when the request named none.
    pub name: NameText,
    /// How a ClientHello hides a name; none where there is none, or a part of it that may was still to come.
    pub hides: Option<EncryptedName>,
    /// What protocol it is.
    pub application: Application,
    /// The packet that completed it.
    pub frame: FrameNumber,
    /// When that packet came.
    pub at: Timestamp,
    /// Where the packet starts in sequence space.
    pub seq: SequenceNumber,
    /// The sequence number after the packet.
    pub end: SequenceNumber,
    /// Its window field.
    pub window: u16,
    /// Its path marks.
    pub marks: PathMarks,
}

impl Asked {
    /// As a finding names it.
    #[must_use]
    pub fn trigger(&self) -> Trigger {
        Trigger {
            kind: if self.name.is_empty() {
                TriggerKind::Packet
            } else {
                self.kind
            },
            name: (!self.name.is_empty()).then(|| self.name.to_string()),
            frame: self.frame,
        }
    }
}

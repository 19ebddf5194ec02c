//! TLS records (RFC 8446 5.1, RFC 5246 6.2.1) and the alerts in them, walked over the beginning of a stream.
//!
//! A record is five octets of header and a fragment. Nothing is decrypted: once encryption begins, a record's type and
//! length are all there is to see, and under TLS 1.3 even the type lies (an encrypted alert travels as application data).

use std::fmt;

/// Octets of a record's header.
pub const HEADER: usize = 5;

/// The longest fragment any version allows: 2^14 and 2048 of expansion (RFC 5246 6.2.3).
pub const MAX_FRAGMENT: usize = (1 << 14) + 2048;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentType {
    /// The switch to encryption.
    ChangeCipherSpec,
    /// An alert.
    Alert,
    /// Handshake messages.
    Handshake,
    /// Application data, and under TLS 1.3 everything encrypted.
    ApplicationData,
    /// A heartbeat (RFC 6520).
    Heartbeat,
}

impl ContentType {
    const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::ApplicationData,
            24 => Self::Heartbeat,
            _ => return None,
        })
    }
}

/// A record, as much of it as is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsRecord<'a> {
    /// What it carries.
    pub content_type: ContentType,
    /// The version of the record layer: `0x0301` for TLS 1.0, `0x0303` for 1.2 and, by way of disguise, 1.3.
    pub version: u16,
    /// The fragment's length as declared, in octets.
    pub length: u16,
    /// The fragment, shorter than declared where the bytes end.
    pub fragment: &'a [u8],
}

impl<'a> TlsRecord<'a> {
    /// Reads the record that `bytes` begin with.
    ///
    /// # Errors
    /// Why there is none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordsEnd> {
        let Some((&[kind, major, minor, l0, l1], rest)) = bytes.split_first_chunk() else {
            return Err(if looks_like_tls(bytes) {
                RecordsEnd::Incomplete {
                    need: HEADER - bytes.len(),
                }
            } else {
                RecordsEnd::NotTls
            });
        };
        let length = u16::from_be_bytes([l0, l1]);
        match ContentType::from_octet(kind) {
            Some(content_type) if major == 3 && minor <= 4 && usize::from(length) <= MAX_FRAGMENT => Ok(Self {
                content_type,
                version: u16::from_be_bytes([major, minor]),
                length,
                fragment: &rest[..rest.len().min(length.into())],
            }),
            _ => Err(RecordsEnd::NotTls),
        }
    }

    /// How many octets of the fragment are wanting.
    #[must_use]
    pub fn wanting(&self) -> usize {
        usize::from(self.length) - self.fragment.len()
    }

    /// The alert in this record, if it carries a whole one in clear.
    #[must_use]
    pub fn alert(&self) -> Option<Alert> {
        match (self.content_type, self.length, self.fragment) {
            (ContentType::Alert, 2, &[level @ 1..=2, description]) => Some(Alert {
                level: if level == 2 {
                    AlertLevel::Fatal
                } else {
                    AlertLevel::Warning
                },
                description: AlertDescription(description),
            }),
            _ => None,
        }
    }
}

/// Walks the records at the beginning of a stream's direction.
#[must_use]
pub const fn records(bytes: &[u8]) -> TlsRecords<'_> {
    TlsRecords {
        bytes,
        at: 0,
        end: None,
    }
}

/// The records of a stretch of bytes, the last perhaps cut.
#[derive(Clone, Debug)]
pub struct TlsRecords<'a> {
    bytes: &'a [u8],
    at: usize,
    end: Option<RecordsEnd>,
}

impl TlsRecords<'_> {
    /// Why the walk ended, once it has.
    #[must_use]
    pub const fn end(&self) -> Option<RecordsEnd> {
        self.end
    }
}

impl<'a> Iterator for TlsRecords<'a> {
    type Item = TlsRecord<'a>;

    fn next(&mut self) -> Option<TlsRecord<'a>> {
        if self.end.is_some() {
            return None;
        }
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            self.end = Some(RecordsEnd::Whole);
            return None;
        }
        match TlsRecord::read(rest) {
            Ok(record) => {
                self.at += HEADER + record.fragment.len();
                if record.wanting() > 0 {
                    self.end = Some(RecordsEnd::Incomplete { need: record.wanting() });
                }
                Some(record)
            }
            Err(end) => {
                self.end = Some(end);
                None
            }
        }
    }
}

/// Why a walk over records ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordsEnd {
    /// The bytes end with a record.
    Whole,
    /// The bytes end inside a record.
    Incomplete {
        /// How many octets are wanting, at least.
        need: usize,
    },
    /// What follows is no record.
    NotTls,
}

/// An alert (RFC 8446 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert {
    /// Whether it ends the connection.
    pub level: AlertLevel,
    /// What it is about.
    pub description: AlertDescription,
}

/// How grave an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertLevel {
    /// The connection may go on.
    Warning,
    /// The connection ends.
    Fatal,
}

/// What an alert is about: the number of IANA's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertDescription(pub u8);

impl AlertDescription {
    /// The registry's name, if it has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        // RFC 8446 B.2 and, for what 1.3 no longer has, RFC 5246 A.3.
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            111 => "certificate_unobtainable",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            114 => "bad_certificate_hash_value",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            121 => "ech_required",
            _ => return None,
        })
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}

/// Whether `bytes` begin like a TLS record, or, if they are shorter than its first three octets, may do so.
#[inline]
#[must_use]
pub fn looks_like_tls(bytes: &[u8]) -> bool {
    match bytes {
        [] => false,
        [20..=24] | [20..=24, 3] | [20..=24, 3, 0..=4, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_walked_to_the_one_that_is_cut() {
        let mut walk = records(b"\x15\x03\x03\x00\x02\x02\x28\x17\x03\x03\x00\x05ab");
        let alert = walk.next().unwrap();
        assert_eq!(
            alert.alert().unwrap(),
            Alert {
                level: AlertLevel::Fatal,
                description: AlertDescription(40)
            }
        );
        let data = walk.next().unwrap();
        assert_eq!(
            (data.content_type, data.fragment, data.wanting()),
            (ContentType::ApplicationData, &b"ab"[..], 3)
        );
        assert_eq!(
            (walk.next(), walk.end()),
            (None, Some(RecordsEnd::Incomplete { need: 3 }))
        );
    }

    #[test]
    fn the_end_says_whether_it_is_one() {
        let end = |bytes| {
            let mut walk = records(bytes);
            walk.by_ref().for_each(drop);
            walk.end()
        };
        assert_eq!(end(b"\x14\x03\x03\x00\x01\x01"), Some(RecordsEnd::Whole));
        assert_eq!(
            end(b"\x14\x03\x03\x00\x01\x01\x16\x03"),
            Some(RecordsEnd::Incomplete { need: 3 })
        );
        assert_eq!(end(b"\x14\x03\x03\x00\x01\x01HTTP/1.1 200"), Some(RecordsEnd::NotTls));
        assert_eq!(end(b"\x16\x03\x01\xff\xff"), Some(RecordsEnd::NotTls));
    }

    #[test]
    fn an_encrypted_alert_is_not_read_as_a_plain_one() {
        let encrypted = b"\x15\x03\x03\x00\x1a\x02\x28aaaaaaaaaaaaaaaaaaaaaaaa";
        assert_eq!(TlsRecord::read(encrypted).unwrap().alert(), None);
        assert_eq!(TlsRecord::read(b"\x15\x03\x03\x00\x02\x02").unwrap().alert(), None);
        assert_eq!(TlsRecord::read(b"\x15\x03\x03\x00\x02\x09\x28").unwrap().alert(), None);
    }

    #[test]
    fn alerts_speak_by_name() {
        assert_eq!(AlertDescription(112).to_string(), "unrecognized_name");
        assert_eq!(AlertDescription(255).to_string(), "alert 255");
    }
}

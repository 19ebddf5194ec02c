//! X.509 certificates as they pass by in TLS 1.2: well formed, with the names, validity and extensions of real ones;
//! keys and signatures are noise, since nobody in the stories checks them.

use super::chance::Chance;
use super::story::Authority;

/// A distinguished name: attribute (the last number of its OID under 2.5.4) and value.
type Name<'a> = &'a [(u8, &'a str)];

const COUNTRY: u8 = 6;
const ORGANIZATION: u8 = 10;
const UNIT: u8 = 11;
const COMMON_NAME: u8 = 3;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 4;
const BITS: u8 = 3;
const DAY: u64 = 86_400;

/// The issuers above a leaf, nearest first.
fn issuers(authority: Authority) -> &'static [Name<'static>] {
    match authority {
        Authority::LetsEncrypt => &[
            &[(COUNTRY, "US"), (ORGANIZATION, "Let's Encrypt"), (COMMON_NAME, "R11")],
            &[
                (COUNTRY, "US"),
                (ORGANIZATION, "Internet Security Research Group"),
                (COMMON_NAME, "ISRG Root X1"),
            ],
        ],
        Authority::Digicert => &[
            &[
                (COUNTRY, "US"),
                (ORGANIZATION, "DigiCert Inc"),
                (COMMON_NAME, "DigiCert SHA2 Secure Server CA"),
            ],
            &[
                (COUNTRY, "US"),
                (ORGANIZATION, "DigiCert Inc"),
                (UNIT, "www.digicert.com"),
                (COMMON_NAME, "DigiCert Global Root CA"),
            ],
        ],
        Authority::Qaznet => &[&[(COUNTRY, "KZ"), (COMMON_NAME, "Qaznet Trust Network")]],
        Authority::Isca => &[
            &[
                (COUNTRY, "KZ"),
                (ORGANIZATION, "ISCA"),
                (COMMON_NAME, "Information Security Certification Authority"),
            ],
            &[
                (COUNTRY, "KZ"),
                (ORGANIZATION, "ISCA"),
                (COMMON_NAME, "Information Security Certification Authority CA"),
            ],
        ],
        Authority::Fortinet => &[&[
            (COUNTRY, "US"),
            (ORGANIZATION, "Fortinet"),
            (UNIT, "Certificate Authority"),
            (COMMON_NAME, "FGT60FTK20001234"),
        ]],
        Authority::Own => &[],
    }
}

/// The chain for a server name, leaf first: together `size` bytes with their three-byte lengths, if that is enough for
/// what has to be in it. `now` in seconds since 1970.
pub(crate) fn chain(authority: Authority, name: &str, size: usize, now: u64) -> Vec<Vec<u8>> {
    let issuers = issuers(authority);
    let subject: Name<'_> = &[(COMMON_NAME, name)];
    let today = now / DAY * DAY;
    let above: Vec<Vec<u8>> = issuers
        .windows(2)
        .map(|pair| {
            let valid = (today - 200 * DAY, today + 900 * DAY);
            certificate(pair[0], pair[1], valid, None, 0)
        })
        .collect();
    let issuer = issuers.first().copied().unwrap_or(subject);
    let leaf = |filler: usize| {
        certificate(
            subject,
            issuer,
            (today - 20 * DAY, today + 70 * DAY),
            Some(name),
            filler,
        )
    };
    let rest: usize = above.iter().map(|certificate| certificate.len() + 3).sum();
    // All lengths around the filler take two bytes from 256 on, so its size decides the whole, byte by byte.
    let least = leaf(300);
    let filler = (300 + size).saturating_sub(least.len() + 3 + rest).max(256);
    std::iter::once(leaf(filler)).chain(above).collect()
}

fn certificate(subject: Name<'_>, issuer: Name<'_>, valid: (u64, u64), host: Option<&str>, filler: usize) -> Vec<u8> {
    let seed = subject
        .iter()
        .chain(issuer)
        .flat_map(|(_, value)| value.bytes())
        .fold(7_u64, |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01B3).wrapping_add(u64::from(byte))
        });
    let mut chance = Chance::new(seed);
    let mut serial = chance.bytes(16);
    serial[0] = serial[0] & 0x7F | 0x40;
    // sha256WithRSAEncryption and rsaEncryption.
    let algorithm = |last: u8| {
        let oid = tlv(6, &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, last]);
        tlv(SEQUENCE, &[oid, tlv(5, &[])].concat())
    };
    let mut modulus = chance.bytes(257);
    modulus[0] = 0;
    modulus[1] |= 0x80;
    modulus[256] |= 1;
    let key = tlv(SEQUENCE, &[tlv(2, &modulus), tlv(2, &[1, 0, 1])].concat());
    let key = tlv(SEQUENCE, &[algorithm(1), tlv(BITS, &[vec![0], key].concat())].concat());
    let mut extensions = Vec::new();
    match host {
        Some(host) => {
            // Key usage: digital signature, key encipherment; extended: server authentication; alternative name.
            extensions.push(extension(&[0x55, 0x1D, 0x0F], &[3, 2, 5, 0xA0]));
            extensions.push(extension(
                &[0x55, 0x1D, 0x25],
                &[0x30, 0x0A, 6, 8, 0x2B, 6, 1, 5, 5, 7, 3, 1],
            ));
            extensions.push(extension(
                &[0x55, 0x1D, 0x11],
                &tlv(SEQUENCE, &tlv(0x82, host.as_bytes())),
            ));
        }
        None => extensions.push(extension(&[0x55, 0x1D, 0x13], &[0x30, 3, 1, 1, 0xFF])),
    }
    if filler > 0 {
        // A comment (2.16.840.1.113730.1.13), where real ones have policies and transparency stamps.
        let comment = tlv(0x16, &vec![b'.'; filler]);
        extensions.push(extension(&[0x60, 0x86, 0x48, 1, 0x86, 0xF8, 0x42, 1, 13], &comment));
    }
    let to_be_signed = [
        tlv(0xA0, &tlv(2, &[2])),
        tlv(2, &serial),
        algorithm(11),
        distinguished(issuer),
        tlv(SEQUENCE, &[time(valid.0), time(valid.1)].concat()),
        distinguished(subject),
        key,
        tlv(0xA3, &tlv(SEQUENCE, &extensions.concat())),
    ]
    .concat();
    let signature = [vec![0], chance.bytes(256)].concat();
    let parts = [tlv(SEQUENCE, &to_be_signed), algorithm(11), tlv(BITS, &signature)];
    tlv(SEQUENCE, &parts.concat())
}

fn distinguished(name: Name<'_>) -> Vec<u8> {
    let parts: Vec<u8> = name
        .iter()
        .flat_map(|(attribute, value)| {
            // PrintableString for countries, UTF8String for the rest.
            let tag = if *attribute == COUNTRY { 0x13 } else { 0x0C };
            let pair = [tlv(6, &[0x55, 4, *attribute]), tlv(tag, value.as_bytes())].concat();
            tlv(SET, &tlv(SEQUENCE, &pair))
        })
        .collect();
    tlv(SEQUENCE, &parts)
}

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(SEQUENCE, &[tlv(6, oid), tlv(OCTETS, value)].concat())
}

/// UTCTime of a moment in seconds since 1970 (Howard Hinnant's algorithm).
fn time(seconds: u64) -> Vec<u8> {
    let days = seconds / DAY + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400 + u64::from(month >= 10);
    let month = if month < 10 { month + 3 } else { month - 9 };
    let text = format!("{:02}{month:02}{day:02}000000Z", year % 100);
    tlv(0x17, text.as_bytes())
}

/// Tag, length, value.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        len @ 0..=127 => out.push(len as u8),
        len @ 128..=255 => out.extend_from_slice(&[0x81, len as u8]),
        len => {
            out.push(0x82);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_different_authorities_can_have_the_same_size() {
        for authority in [
            Authority::LetsEncrypt,
            Authority::Digicert,
            Authority::Qaznet,
            Authority::Isca,
        ] {
            let chain = chain(authority, "news.example", 2800, 1_768_032_000);
            let size: usize = chain.iter().map(|certificate| certificate.len() + 3).sum();
            assert_eq!(size, 2800, "{authority:?}");
        }
    }

    #[test]
    fn a_time_is_written_as_certificates_want_it() {
        assert_eq!(&time(1_768_032_000)[2..], b"260110000000Z");
        assert_eq!(&time(1_709_164_800)[2..], b"240229000000Z");
    }
}

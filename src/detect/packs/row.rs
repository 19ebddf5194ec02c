//! One fact of a pack, with who says so and since when.

use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::expression::Expression;
use crate::finding::finding::{FingerprintMatch, ListPlace};

/// A fact: what to look for, and what it means to find it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The row's name, unique in its pack.
    pub id: String,
    /// Where to look.
    pub kind: FactKind,
    /// For [`FactKind::HttpHeader`]: in which header.
    #[serde(default)]
    pub header: Option<String>,
    /// What to look for, ASCII case aside. For [`FactKind::DnsAddress`] an address or, with [`MatchKind::Prefix`], a
    /// range: `address/bits` or `address&mask`.
    pub pattern: String,
    /// How much of the text the pattern must cover.
    #[serde(rename = "match")]
    pub match_kind: MatchKind,
    /// Whose doing a match shows.
    pub scope: Scope,
    /// Where it is expected, as ISO 3166-1 codes of two letters; empty for anywhere.
    #[serde(default)]
    pub countries: Vec<String>,
    /// How sure a match means what the row says, 0 to 10.
    pub confidence: u8,
    /// Where the fact is from.
    pub source: String,
    /// The source's date, as `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    pub date: String,
    /// What it is, for the reader of a finding.
    #[serde(default)]
    pub note: String,
    /// Where an example of it can be seen; empty if its list names none.
    #[serde(default)]
    pub url: String,
    /// How exactly its letters must be met.
    #[serde(default)]
    pub letters: Letters,
    /// Where it was read; none for the facts that come with the program.
    #[serde(skip)]
    pub place: Option<Place>,
}

/// Where a row was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's name, without its directories.
    pub file: Arc<str>,
    /// The line it begins in, from 1.
    pub line: u64,
}

/// How exactly letters must be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Letters {
    /// ASCII letters are met in either case.
    #[default]
    AnyCase,
    /// As they stand.
    Exact,
}

/// Where a row is to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKind {
    /// In the addresses of a DNS answer.
    DnsAddress,
    /// In a redirect's target.
    HttpLocation,
    /// In a page.
    HttpBody,
    /// In a response's header.
    HttpHeader,
    /// In a response's first line and headers, as they came.
    HttpHead,
    /// In a response's head or page.
    HttpAnswer,
    /// In the alias of a DNS answer, or an address of it as it is written.
    DnsText,
    /// In the issuer of a certificate.
    TlsIssuer,
}

/// How much of a text a pattern must cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// All of it.
    Full,
    /// Its beginning.
    Prefix,
    /// Any part of it.
    Contains,
    /// It is a regular expression (of the `regex` crate, where a dot is any character) for any part of it.
    Regex,
}

/// Whose doing a match shows, in the order in which matches are preferred (wire-facts 5.1, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Nobody's: it looks like blocking and is none.
    FalsePositive,
    /// A filtering product's, whoever runs it.
    Product,
    /// A state's.
    National,
    /// An operator's.
    Isp,
    /// A school's, company's or library's.
    Institution,
    /// Somebody's: the pattern says no more.
    Vague,
}

impl Scope {
    /// The scope as it stands in packs and findings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FalsePositive => "false_positive",
            Self::Product => "product",
            Self::National => "national",
            Self::Isp => "isp",
            Self::Institution => "institution",
            Self::Vague => "vague",
        }
    }
}

/// What keeps rows from making a pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The file is no TOML, or not of a pack's form.
    #[error("not a pack: {0}")]
    Form(String),
    /// Two rows have one name.
    #[error("two rows are called {0:?}")]
    DoubleId(String),
    /// A row's field does not hold what it should.
    #[error("row {id:?}: {field} {problem}")]
    Field {
        /// The row's name.
        id: String,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A row's regular expression cannot be used.
    #[error("row {id:?}: {why}")]
    Expression {
        /// The row's name.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// The patterns are too many or too long to be searched for at once.
    #[error("too many patterns: {0}")]
    TooMany(String),
}

impl Row {
    /// What a finding tells of the row that was met.
    #[must_use]
    pub fn matched(&self) -> FingerprintMatch {
        FingerprintMatch {
            id: self.id.clone(),
            known_from: (!self.countries.is_empty()).then(|| self.countries.join(", ")),
            source: if self.date.is_empty() {
                self.source.clone()
            } else {
                format!("{} ({})", self.source, self.date)
            },
            url: (!self.url.is_empty()).then(|| self.url.clone()),
            place: self.place.as_ref().map(|place| ListPlace {
                file: place.file.to_string(),
                line: place.line,
            }),
        }
    }

    /// Whether the row can be searched for; if not, why.
    pub(super) fn usable(&self) -> Result<(), String> {
        self.check().map_err(|error| match error {
            PackError::Field { field, problem, .. } => format!("its {field} {problem}"),
            other => other.to_string(),
        })?;
        if self.match_kind == MatchKind::Regex {
            Expression::read(&self.pattern)?;
        }
        Ok(())
    }

    /// Checks what the row's type cannot.
    pub(super) fn check(&self) -> Result<(), PackError> {
        let fail = |field, problem| {
            Err(PackError::Field {
                id: self.id.clone(),
                field,
                problem,
            })
        };
        if self.id.is_empty() {
            return fail("id", "is empty");
        }
        if self.pattern.is_empty() {
            return fail("pattern", "is empty");
        }
        if self.confidence > 10 {
            return fail("confidence", "is above 10");
        }
        if self.source.is_empty() {
            return fail("source", "is empty");
        }
        // Public lists date none of their rows.
        let undated = self.date.is_empty() && self.place.is_some();
        if !undated && !is_date(&self.date) {
            return fail("date", "is no YYYY, YYYY-MM or YYYY-MM-DD");
        }
        if !self
            .countries
            .iter()
            .all(|code| code.len() == 2 && code.bytes().all(|octet| octet.is_ascii_uppercase()))
        {
            return fail("countries", "are no codes of two capital letters");
        }
        if (self.kind == FactKind::HttpHeader) != self.header.as_ref().is_some_and(|header| !header.is_empty()) {
            return fail("header", "belongs to http_header rows, and to all of them");
        }
        if self.kind == FactKind::DnsAddress {
            match (self.match_kind, AddressRange::from_str(&self.pattern)) {
                (_, Err(())) => return fail("pattern", "is no address or range"),
                (MatchKind::Contains | MatchKind::Regex, _) => {
                    return fail("match", "must be full or prefix for an address");
                }
                (MatchKind::Full, Ok(range)) if range.mask != u128::MAX => {
                    return fail("match", "is full, but for a range");
                }
                (MatchKind::Full | MatchKind::Prefix, Ok(_)) => {}
            }
        }
        Ok(())
    }
}

/// The addresses that agree with `bits` wherever `mask` has a one. IPv4 is taken as mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressRange {
    pub(super) bits: u128,
    pub(super) mask: u128,
}

impl AddressRange {
    pub(super) fn contains(self, address: std::net::IpAddr) -> bool {
        (bits(address) ^ self.bits) & self.mask == 0
    }
}

pub(super) fn bits(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        std::net::IpAddr::V6(v6) => v6.into(),
    }
}

impl FromStr for AddressRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let address = |text: &str| text.parse::<std::net::IpAddr>().map_err(|_| ());
        let (start, mask) = if let Some((start, length)) = text.split_once('/') {
            let start = address(start)?;
            let length: u32 = length.parse().map_err(|_| ())?;
            let width = if start.is_ipv4() { 32 } else { 128 };
            let free = u32::checked_sub(width, length).ok_or(())?;
            (start, u128::MAX.checked_shl(free).unwrap_or(0))
        } else if let Some((start, mask)) = text.split_once('&') {
            let (start, mask) = (address(start)?, address(mask)?);
            match (start.is_ipv4(), mask) {
                (true, std::net::IpAddr::V4(mask)) => (start, u128::MAX << 32 | u128::from(u32::from(mask))),
                (false, std::net::IpAddr::V6(mask)) => (start, mask.into()),
                _ => return Err(()),
            }
        } else {
            (address(text)?, u128::MAX)
        };
        let bits = bits(start);
        // Bits outside the mask would be a slip of the pen.
        if bits & !mask != 0 {
            Err(())
        } else {
            Ok(Self { bits, mask })
        }
    }
}

fn is_date(text: &str) -> bool {
    let number = |part: &str, length: usize, range: std::ops::RangeInclusive<u16>| {
        part.len() == length
            && part.bytes().all(|octet| octet.is_ascii_digit())
            && part.parse().is_ok_and(|number| range.contains(&number))
    };
    let mut parts = text.split('-');
    parts.next().is_some_and(|year| number(year, 4, 1990..=2100))
        && parts.next().is_none_or(|month| number(month, 2, 1..=12))
        && parts.next().is_none_or(|day| number(day, 2, 1..=31))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_in_both_forms() {
        let has = |range: &str, address: &str| {
            range
                .parse::<AddressRange>()
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(has("10.10.34.0/24", "10.10.34.36") && !has("10.10.34.0/24", "10.10.35.1"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("2001::/32", "2001:0:1::") && !has("2001::/32", "2001:1::"));
        assert!(
            has("2001:db8::5&ffff:ffff::ffff", "2001:db8:7::5") && !has("2001:db8::5&ffff:ffff::ffff", "2001:db8::6")
        );
        assert!(has("10.0.0.1&255.0.0.255", "10.9.9.1") && !has("10.0.0.1&255.0.0.255", "10.9.9.2"));
        assert!(has("1.2.3.4", "1.2.3.4"));
    }

    #[test]
    fn slips_in_ranges_are_found() {
        for text in [
            "10.10.34.1/24",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0&ffff::",
            "x",
            "",
            "1.2.3.4/",
        ] {
            assert_eq!(text.parse::<AddressRange>(), Err(()), "{text}");
        }
    }

    #[test]
    fn dates_are_checked() {
        assert!(["2024", "2024-10", "2024-10-20"].into_iter().all(is_date));
        assert!(
            !["", "24", "2024-13", "2024-1", "2024-10-20-1", "2024-10-32", "October"]
                .into_iter()
                .any(is_date)
        );
    }
}

//! A pack, ready to be matched: every kind of text is searched for all its patterns in one pass.
//!
//! Rows are put in order of preference when the pack is built (false positives first, then by scope, then the longest
//! pattern, then the id), so that the best of many matches is the one with the lowest index, whatever order they come in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind as Semantics};
use serde::Deserialize;

use super::row::{AddressRange, FactKind, MatchKind, PackError, Row, bits};
use crate::payload::http_head::Header;

/// The facts that come with the program.
const BUILTIN: &str = include_str!("builtin.toml");

/// How many octets of a text are searched: a page as long as is ever decoded, and more of any header than makes sense.
const MAX_TEXT: usize = 16 * 1024;

/// A set of facts, ready to be matched.
#[derive(Debug)]
pub struct Pack {
    rows: Vec<Row>,
    addresses: BTreeMap<u128, usize>,
    ranges: Vec<(AddressRange, usize)>,
    locations: Searcher,
    bodies: Searcher,
    headers: Searcher,
    issuers: Searcher,
}

/// What a response says, as far as packs look at it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseFacts<'a> {
    /// Where the response redirects to.
    pub location: Option<&'a [u8]>,
    /// Where its page leads or what it frames; see [`HtmlFacts::targets`](crate::payload::html_facts::HtmlFacts::targets).
    pub page_targets: &'a [&'a [u8]],
    /// Its headers.
    pub headers: &'a [Header<'a>],
    /// Its decoded body, of which the first 16 KiB are searched.
    pub body: &'a [u8],
}

/// A row that matches a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHit<'p> {
    /// The row.
    pub row: &'p Row,
    /// In which part of the response.
    pub matched_in: MatchedIn,
}

/// The part of a response that a row matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchedIn {
    /// The redirect's target.
    Location,
    /// A target of the page: a refresh, a script's or a frame's.
    PageTarget,
    /// A header.
    Header,
    /// The page.
    Body,
}

impl MatchedIn {
    /// The part as it stands in findings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Location => "location",
            Self::PageTarget => "page_target",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

impl Pack {
    /// The built-in pack. It is built when it is first asked for.
    ///
    /// # Panics
    /// Never: a test builds it.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static PACK: OnceLock<Pack> = OnceLock::new();
        PACK.get_or_init(|| Self::from_toml(BUILTIN).expect("the built-in pack is sound"))
    }

    /// Builds a pack from the text of a file of `[[row]]` tables.
    ///
    /// # Errors
    /// What is wrong with the file or one of its rows.
    pub fn from_toml(text: &str) -> Result<Self, PackError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            row: Vec<Row>,
        }
        let file: File = toml::from_str(text).map_err(|error| PackError::Form(error.to_string()))?;
        Self::from_rows(file.row)
    }

    /// Builds a pack from rows, whatever they were read from.
    ///
    /// # Errors
    /// What is wrong with one of the rows, or with all of them together.
    pub fn from_rows(mut rows: Vec<Row>) -> Result<Self, PackError> {
        rows.iter().try_for_each(Row::check)?;
        rows.sort_by(|a, b| (a.scope, b.pattern.len(), &a.id).cmp(&(b.scope, a.pattern.len(), &b.id)));
        let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PackError::DoubleId(pair[0].to_owned()));
        }

        let mut addresses = BTreeMap::new();
        let mut ranges = Vec::new();
        for (index, row) in rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.kind == FactKind::DnsAddress)
        {
            // `check` has read the pattern already.
            let Ok(range) = row.pattern.parse::<AddressRange>() else {
                continue;
            };
            if range.mask == u128::MAX {
                addresses.entry(range.bits).or_insert(index);
            } else {
                ranges.push((range, index));
            }
        }
        let searcher = |kind| Searcher::new(&rows, kind);
        Ok(Self {
            addresses,
            ranges,
            locations: searcher(FactKind::HttpLocation)?,
            bodies: searcher(FactKind::HttpBody)?,
            headers: searcher(FactKind::HttpHeader)?,
            issuers: searcher(FactKind::TlsIssuer)?,
            rows,
        })
    }

    /// The rows, the preferred first.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The best row for an address in a DNS answer.
    #[must_use]
    pub fn dns_address(&self, address: IpAddr) -> Option<&Row> {
        let exact = self.addresses.get(&bits(address)).copied();
        let range = self
            .ranges
            .iter()
            .find(|(range, _)| range.contains(address))
            .map(|&(_, index)| index);
        exact.into_iter().chain(range).min().map(|index| &self.rows[index])
    }

    /// The best row for a response, if any matches. A row of scope
    /// [`FalsePositive`](super::row::Scope::FalsePositive) means that the response is an honest one.
    #[must_use]
    pub fn match_response(&self, response: &ResponseFacts<'_>) -> Option<PackHit<'_>> {
        let location = response
            .location
            .and_then(|text| self.locations.best(&self.rows, text, None));
        let target = response
            .page_targets
            .iter()
            .filter_map(|text| self.locations.best(&self.rows, text, None))
            .min();
        let header = response
            .headers
            .iter()
            .filter_map(|header| {
                self.headers
                    .best(&self.rows, header.value.trim_ascii(), Some(header.name))
            })
            .min();
        let body = self.bodies.best(&self.rows, response.body, None);
        [
            (location, MatchedIn::Location),
            (target, MatchedIn::PageTarget),
            (header, MatchedIn::Header),
            (body, MatchedIn::Body),
        ]
        .into_iter()
        .filter_map(|(index, matched_in)| Some((index?, matched_in)))
        .min()
        .map(|(index, matched_in)| PackHit {
            row: &self.rows[index],
            matched_in,
        })
    }

    /// The best row for the issuer of a certificate, given as text or as the name's raw octets.
    #[must_use]
    pub fn tls_issuer(&self, issuer: &[u8]) -> Option<&Row> {
        self.issuers
            .best(&self.rows, issuer, None)
            .map(|index| &self.rows[index])
    }
}

/// All patterns of one kind.
#[derive(Debug)]
struct Searcher {
    automaton: AhoCorasick,
    /// Which row each of the automaton's patterns belongs to.
    owners: Vec<usize>,
}

impl Searcher {
    fn new(rows: &[Row], kind: FactKind) -> Result<Self, PackError> {
        let (mut patterns, mut owners) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.kind == kind) {
            patterns.push(row.pattern.clone().into_bytes());
            owners.push(index);
            if let Some(pattern) = windows_1251(&row.pattern) {
                patterns.push(pattern);
                owners.push(index);
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(Semantics::Standard)
            .build(patterns)
            .map_err(|error| PackError::TooMany(error.to_string()))?;
        Ok(Self { automaton, owners })
    }

    /// The index of the best row that matches `text`, of those for `header` if that is given.
    fn best(&self, rows: &[Row], text: &[u8], header: Option<&str>) -> Option<usize> {
        let whole = text.len();
        let text = &text[..whole.min(MAX_TEXT)];
        self.automaton
            .find_overlapping_iter(text)
            .filter_map(|found| {
                let index = *self.owners.get(found.pattern().as_usize())?;
                let row = &rows[index];
                let fits = match row.match_kind {
                    MatchKind::Full => found.start() == 0 && found.end() == whole,
                    MatchKind::Prefix => found.start() == 0,
                    MatchKind::Contains => true,
                };
                let here = match (header, &row.header) {
                    (Some(name), Some(wanted)) => name.eq_ignore_ascii_case(wanted),
                    _ => true,
                };
                (fits && here).then_some(index)
            })
            .min()
    }
}

/// A Cyrillic pattern as older Russian pages code it; `None` if the pattern is ASCII or the code page lacks a letter.
fn windows_1251(pattern: &str) -> Option<Vec<u8>> {
    if pattern.is_ascii() {
        return None;
    }
    pattern
        .chars()
        .map(|letter| match letter {
            '\0'..='\x7f' => Some(letter as u8),
            'А'..='я' => u8::try_from(u32::from(letter) - u32::from('А') + 0xc0).ok(),
            'Ё' => Some(0xa8),
            'ё' => Some(0xb8),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::row::Scope;
    use super::*;

    fn row(id: &str, kind: FactKind, pattern: &str, match_kind: MatchKind, scope: Scope) -> Row {
        Row {
            id: id.into(),
            kind,
            header: None,
            pattern: pattern.into(),
            match_kind,
            scope,
            countries: vec![],
            confidence: 5,
            source: "test".into(),
            date: "2026".into(),
            note: String::new(),
        }
    }

    fn hit<'p>(pack: &'p Pack, facts: &ResponseFacts<'_>) -> Option<(&'p str, MatchedIn)> {
        pack.match_response(facts)
            .map(|hit| (hit.row.id.as_str(), hit.matched_in))
    }

    #[test]
    fn every_builtin_row_has_source_and_date_and_a_name_of_its_own() {
        let pack = Pack::from_toml(BUILTIN).unwrap();
        assert!(pack.rows().len() > 100);
        assert!(
            pack.rows()
                .iter()
                .all(|row| !row.source.is_empty() && !row.date.is_empty() && !row.note.is_empty())
        );
        // Names of their own and the form of dates are what `from_rows` refuses otherwise.
        let mut twice = pack.rows().to_vec();
        twice.push(twice[0].clone());
        assert!(matches!(Pack::from_rows(twice), Err(PackError::DoubleId(_))));
    }

    #[test]
    fn every_builtin_row_is_found_by_its_own_pattern() {
        let pack = Pack::builtin();
        for row in pack.rows() {
            let text = row.pattern.as_bytes();
            let found = match row.kind {
                FactKind::DnsAddress => {
                    let address = row.pattern.split(['/', '&']).next().unwrap();
                    pack.dns_address(address.parse().unwrap())
                }
                FactKind::HttpLocation => {
                    let facts = ResponseFacts {
                        location: Some(text),
                        ..Default::default()
                    };
                    pack.match_response(&facts).map(|hit| hit.row)
                }
                FactKind::HttpBody => pack
                    .match_response(&ResponseFacts {
                        body: text,
                        ..Default::default()
                    })
                    .map(|hit| hit.row),
                FactKind::HttpHeader => {
                    let headers = [Header {
                        name: row.header.as_deref().unwrap(),
                        value: text,
                    }];
                    pack.match_response(&ResponseFacts {
                        headers: &headers,
                        ..Default::default()
                    })
                    .map(|hit| hit.row)
                }
                FactKind::TlsIssuer => pack.tls_issuer(text),
            };
            // Another row may be preferred where a pattern holds another one.
            let found = found.unwrap_or_else(|| panic!("{} is not found", row.id));
            assert!(
                found.id == row.id || row.pattern.contains(&found.pattern),
                "{} gives {}",
                row.id,
                found.id
            );
        }
    }

    #[test]
    fn addresses_are_found_alone_and_in_ranges() {
        let pack = Pack::builtin();
        let id = |address: &str| pack.dns_address(address.parse().unwrap()).map(|row| row.id.as_str());
        assert_eq!(id("10.10.34.36"), Some("dns-ir-10.10.34.36"));
        assert_eq!(id("10.10.34.37"), None);
        assert_eq!(id("2001::4a7d:e0fe"), Some("dns-cn-2001::_32"));
        assert_eq!(id("2001:4860::8888"), None);
        assert_eq!(id("2a03:2880:f10e:83:face:b00c:0:25de"), Some("dns-cn-facebook"));
        assert_eq!(id("2a03:2880:f10e:83:face:b00c:0:25df"), None);
    }

    #[test]
    fn a_redirect_is_found_by_its_beginning_only_where_the_row_says_so() {
        let find = |location: &'static str| {
            hit(
                Pack::builtin(),
                &ResponseFacts {
                    location: Some(location.as_bytes()),
                    ..Default::default()
                },
            )
        };
        assert_eq!(
            find("HTTP://Warning.rt.ru/?id=1"),
            Some(("location-ru-rostelecom-warning", MatchedIn::Location))
        );
        assert_eq!(find("http://x.example/?to=http://warning.rt.ru/"), None);
        assert_eq!(
            find("http://10.0.0.1/php/urlblock.php?args=AA"),
            Some(("location-palo-alto", MatchedIn::Location))
        );
        assert_eq!(find("https://www.example.com/"), None);
    }

    #[test]
    fn a_page_is_found_by_its_text_and_by_where_it_leads() {
        let body = b"<html><iframe src=\"http://10.10.34.34?type=Invalid Site\"></iframe></html>";
        let facts = ResponseFacts {
            body,
            ..Default::default()
        };
        assert_eq!(hit(Pack::builtin(), &facts), Some(("body-ir-iframe", MatchedIn::Body)));
        let targets = crate::payload::html_facts::HtmlFacts::read(
            b"<meta http-equiv=refresh content='0;url=http://lighthouse.du.ae/x'>",
        );
        let targets: Vec<&[u8]> = targets.targets().collect();
        let facts = ResponseFacts {
            page_targets: &targets,
            ..Default::default()
        };
        assert_eq!(
            hit(Pack::builtin(), &facts),
            Some(("location-ae-du", MatchedIn::PageTarget))
        );
    }

    #[test]
    fn a_header_row_looks_at_its_header_alone() {
        let find = |name, value: &'static str| {
            let headers = [Header {
                name,
                value: value.as_bytes(),
            }];
            hit(
                Pack::builtin(),
                &ResponseFacts {
                    headers: &headers,
                    ..Default::default()
                },
            )
        };
        assert_eq!(
            find("SERVER", "Protected by WireFilter 8000"),
            Some(("header-sa-wirefilter", MatchedIn::Header))
        );
        assert_eq!(find("X-Note", "Protected by WireFilter 8000"), None);
        assert_eq!(
            find("cf-mitigated", "challenge"),
            Some(("header-fp-cloudflare-challenge", MatchedIn::Header))
        );
        assert_eq!(find("cf-mitigated", "challenged"), None);
    }

    #[test]
    fn an_honest_refusal_goes_before_any_block_page() {
        let headers = [Header {
            name: "cf-mitigated",
            value: b"challenge",
        }];
        let facts = ResponseFacts {
            headers: &headers,
            body: b"FortiGuard Web Filtering",
            ..Default::default()
        };
        assert_eq!(
            Pack::builtin().match_response(&facts).unwrap().row.scope,
            Scope::FalsePositive
        );
    }

    #[test]
    fn issuers_are_found_in_any_alphabet() {
        let issuer = |text: &str| Pack::builtin().tls_issuer(text.as_bytes()).map(|row| row.id.as_str());
        assert_eq!(issuer("C=KZ, CN=Qaznet Trust Network"), Some("issuer-kz-qaznet"));
        assert_eq!(
            issuer("C=KK, CN=НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ"),
            Some("issuer-kz-root-2015")
        );
        assert_eq!(issuer("C=US, O=Let's Encrypt"), Some("issuer-public-lets-encrypt"));
        assert_eq!(issuer("O=Example, CN=Example CA"), None);
    }

    #[test]
    fn a_russian_page_is_found_in_both_its_codings() {
        for body in [
            "<h1>Страница заблокирована</h1>".as_bytes().to_vec(),
            {
                let mut page = b"<h1>".to_vec();
                page.extend(windows_1251("Страница заблокирована").unwrap());
                page
            },
        ] {
            let facts = ResponseFacts {
                body: &body,
                ..Default::default()
            };
            assert_eq!(
                hit(Pack::builtin(), &facts),
                Some(("body-kz-page-blocked", MatchedIn::Body))
            );
        }
    }

    #[test]
    fn the_best_match_goes_by_scope_then_length_then_name() {
        use {FactKind::HttpBody, MatchKind::Contains};
        let body = |id, pattern, scope| row(id, HttpBody, pattern, Contains, scope);
        let rows = vec![
            body("vague", "this site is blocked", Scope::Vague),
            body("isp-short", "blocked", Scope::Isp),
            body("isp-b", "is blocked", Scope::Isp),
            body("isp-a", "site is bl", Scope::Isp),
            body("national", "x", Scope::National),
        ];
        let mut backwards = rows.clone();
        backwards.reverse();
        for rows in [rows, backwards] {
            let pack = Pack::from_rows(rows).unwrap();
            let facts = ResponseFacts {
                body: b"this site is blocked",
                ..Default::default()
            };
            assert_eq!(hit(&pack, &facts), Some(("isp-a", MatchedIn::Body)));
        }
    }

    #[test]
    fn full_prefix_and_contains_differ() {
        for (match_kind, expected) in [
            (MatchKind::Full, [true, false, false]),
            (MatchKind::Prefix, [true, true, false]),
            (MatchKind::Contains, [true, true, true]),
        ] {
            let pack = Pack::from_rows(vec![row("x", FactKind::HttpLocation, "/abc", match_kind, Scope::Isp)]).unwrap();
            let texts: [&[u8]; 3] = [b"/ABC", b"/abcd", b"x/abc"];
            let found = texts.map(|text| {
                pack.match_response(&ResponseFacts {
                    location: Some(text),
                    ..Default::default()
                })
                .is_some()
            });
            assert_eq!(found, expected, "{match_kind:?}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_right_is_refused_by_name() {
        let good = row("x", FactKind::HttpBody, "p", MatchKind::Contains, Scope::Isp);
        let bad = [
            Row {
                pattern: String::new(),
                ..good.clone()
            },
            Row {
                confidence: 11,
                ..good.clone()
            },
            Row {
                date: "soon".into(),
                ..good.clone()
            },
            Row {
                header: Some("server".into()),
                ..good.clone()
            },
            Row {
                kind: FactKind::HttpHeader,
                ..good.clone()
            },
            Row {
                kind: FactKind::DnsAddress,
                ..good.clone()
            },
            Row {
                countries: vec!["Iran".into()],
                ..good.clone()
            },
        ];
        for row in bad {
            assert!(matches!(Pack::from_rows(vec![row]), Err(PackError::Field { .. })));
        }
        assert!(Pack::from_rows(vec![good]).is_ok());
        assert!(matches!(Pack::from_toml("[[row]]\nid = 1"), Err(PackError::Form(_))));
        assert!(Pack::from_toml("").unwrap().rows().is_empty());
    }
}

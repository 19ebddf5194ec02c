//! A pack, ready to be matched: every kind of text is searched for all its patterns in one pass.
//!
//! A regular expression costs nothing until the text it cannot do without turns up: that text is searched for together
//! with all others, and only then are all expressions tried, in one pass as well.
//!
//! Rows are put in order of preference when the pack is built (false positives first, then by scope, then the longest
//! pattern, then the id), so that the best of many matches is the one with the lowest index, whatever order they come in.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use arrayvec::ArrayString;
use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::expression::{Expression, Shape};
use super::needles::Needles;
use super::row::{AddressRange, FactKind, Letters, MatchKind, PackError, Row, bits};
use crate::payload::http_head::Header;

/// The facts that come with the program.
const BUILTIN: &str = include_str!("builtin.toml");

/// How many octets of a text are searched: a page as long as is ever decoded, and more of any header than makes sense.
const MAX_TEXT: usize = 16 * 1024;

/// A set of facts, ready to be matched.
#[derive(Debug)]
pub struct Pack {
    rows: Vec<Arc<Row>>,
    addresses: BTreeMap<u128, usize>,
    ranges: Vec<(AddressRange, usize)>,
    locations: Searcher,
    bodies: Searcher,
    headers: Searcher,
    heads: Searcher,
    dns_texts: Searcher,
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
    /// Its head as it came, as far as it is there.
    pub head: &'a [u8],
    /// Its decoded body, of which the first 16 KiB are searched.
    pub body: &'a [u8],
}

/// A row that matches a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHit<'p> {
    /// The row.
    pub row: &'p Arc<Row>,
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
    /// The first line and the headers.
    Head,
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
            Self::Head => "head",
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
        Self::from_rows(rows_of_toml(text)?)
    }

    /// The facts that come with the program, and `given` ones besides. Other lists may call a row as one of ours is
    /// called: rows are told apart by their places as well.
    ///
    /// # Errors
    /// What is wrong with one of the rows, or with all of them together.
    pub fn builtin_and(mut given: Vec<Row>) -> Result<Self, PackError> {
        given.append(&mut rows_of_toml(BUILTIN)?);
        Self::build(given)
    }

    /// Builds a pack from rows, whatever they were read from.
    ///
    /// # Errors
    /// What is wrong with one of the rows, or with all of them together.
    pub fn from_rows(rows: Vec<Row>) -> Result<Self, PackError> {
        let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PackError::DoubleId(pair[0].to_owned()));
        }
        Self::build(rows)
    }

    fn build(mut rows: Vec<Row>) -> Result<Self, PackError> {
        rows.iter().try_for_each(Row::check)?;
        rows.sort_by(|a, b| preference(a).cmp(&preference(b)));
        let rows: Vec<Arc<Row>> = rows.into_iter().map(Arc::new).collect();

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
        let searcher = |kinds: &[FactKind]| Searcher::new(&rows, kinds);
        Ok(Self {
            addresses,
            ranges,
            locations: searcher(&[FactKind::HttpLocation])?,
            bodies: searcher(&[FactKind::HttpBody, FactKind::HttpAnswer])?,
            headers: searcher(&[FactKind::HttpHeader])?,
            heads: searcher(&[FactKind::HttpHead, FactKind::HttpAnswer])?,
            dns_texts: searcher(&[FactKind::DnsText])?,
            issuers: searcher(&[FactKind::TlsIssuer])?,
            rows,
        })
    }

    /// The rows, the preferred first.
    #[must_use]
    pub fn rows(&self) -> &[Arc<Row>] {
        &self.rows
    }

    /// The best row for an address in a DNS answer.
    #[must_use]
    pub fn dns_address(&self, address: IpAddr) -> Option<&Arc<Row>> {
        let exact = self.addresses.get(&bits(address)).copied();
        let range = self
            .ranges
            .iter()
            .find(|(range, _)| range.contains(address))
            .map(|&(_, index)| index);
        let written = self
            .dns_texts
            .has_patterns()
            .then(|| {
                let mut text = ArrayString::<46>::new();
                // The longest address takes 45 characters.
                let _ = write!(text, "{address}");
                self.dns_texts.best(&self.rows, text.as_bytes(), None)
            })
            .flatten();
        exact
            .into_iter()
            .chain(range)
            .chain(written)
            .min()
            .map(|index| &self.rows[index])
    }

    /// The best row for an alias in a DNS answer, in lower case.
    #[must_use]
    pub fn dns_alias(&self, alias: &str) -> Option<&Arc<Row>> {
        self.dns_texts
            .best(&self.rows, alias.as_bytes(), None)
            .map(|index| &self.rows[index])
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
        let head = self.heads.best(&self.rows, response.head, None);
        let body = self.bodies.best(&self.rows, response.body, None);
        [
            (location, MatchedIn::Location),
            (target, MatchedIn::PageTarget),
            (header, MatchedIn::Header),
            (head, MatchedIn::Head),
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
    pub fn tls_issuer(&self, issuer: &[u8]) -> Option<&Arc<Row>> {
        self.issuers
            .best(&self.rows, issuer, None)
            .map(|index| &self.rows[index])
    }
}

fn rows_of_toml(text: &str) -> Result<Vec<Row>, PackError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        row: Vec<Row>,
    }
    let file: File = toml::from_str(text).map_err(|error| PackError::Form(error.to_string()))?;
    Ok(file.row)
}

/// The preferred row is the smallest by this.
fn preference(row: &Row) -> impl Ord + use<'_> {
    (
        row.scope,
        Reverse(row.pattern.len()),
        Reverse(row.confidence),
        row.id.as_str(),
        &row.place,
    )
}

/// All patterns of some kinds, which are looked for in the same text.
#[derive(Debug)]
struct Searcher {
    needles: Needles,
    /// What each of the needles stands for.
    meanings: Vec<Meaning>,
    expressions: Option<Expressions>,
}

/// What it means to find a needle.
#[derive(Debug)]
enum Meaning {
    /// The row is met, if the very octets are (where they are given).
    Row { index: usize, exactly: Option<Vec<u8>> },
    /// An expression may be met: this is the text it cannot do without.
    TryExpressions,
}

/// Regular expressions, and the rows they belong to.
#[derive(Debug)]
struct Expressions {
    set: RegexSet,
    owners: Vec<usize>,
    /// One of them has no text of its own: it is to be tried always.
    always: bool,
}

/// All expressions of a kind together may take as much memory when compiled, and as much again while searching: lists
/// of some thousand rows take a tenth.
const MOST_MEMORY: usize = 32 << 20;

impl Searcher {
    fn new(rows: &[Arc<Row>], kinds: &[FactKind]) -> Result<Self, PackError> {
        let (mut patterns, mut meanings) = (Vec::new(), Vec::new());
        let mut add = |pattern: Vec<u8>, meaning| {
            patterns.push(pattern);
            meanings.push(meaning);
        };
        let (mut sources, mut owners, mut always) = (Vec::new(), Vec::new(), false);
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| kinds.contains(&row.kind)) {
            let exact = row.letters == Letters::Exact;
            if row.match_kind == MatchKind::Regex {
                let expression = Expression::read(&row.pattern).map_err(|why| PackError::Expression {
                    id: row.id.clone(),
                    why,
                })?;
                match expression.shape {
                    Shape::Literal(text) => {
                        let exactly = Some(text.clone());
                        add(text, Meaning::Row { index, exactly });
                        continue;
                    }
                    Shape::Needs(text) => add(text, Meaning::TryExpressions),
                    Shape::Free => always = true,
                }
                sources.push(row.pattern.as_str());
                owners.push(index);
                continue;
            }
            let text = row.pattern.clone().into_bytes();
            for text in windows_1251(&row.pattern).into_iter().chain([text]) {
                let exactly = exact.then(|| text.clone());
                add(text, Meaning::Row { index, exactly });
            }
        }
        let too_many = |error: &dyn std::fmt::Display| PackError::TooMany(error.to_string());
        let needles = Needles::new(patterns).map_err(|error| too_many(&error))?;
        let expressions = if sources.is_empty() {
            None
        } else {
            let set = RegexSetBuilder::new(sources)
                .dot_matches_new_line(true)
                .size_limit(MOST_MEMORY)
                .dfa_size_limit(MOST_MEMORY)
                .build()
                .map_err(|error| too_many(&error))?;
            Some(Expressions { set, owners, always })
        };
        Ok(Self {
            needles,
            meanings,
            expressions,
        })
    }

    const fn has_patterns(&self) -> bool {
        !self.meanings.is_empty() || self.expressions.is_some()
    }

    /// The index of the best row that matches `text`, of those for `header` if that is given.
    fn best(&self, rows: &[Arc<Row>], text: &[u8], header: Option<&str>) -> Option<usize> {
        if text.is_empty() || !self.has_patterns() {
            return None;
        }
        let whole = text.len();
        let text = &text[..whole.min(MAX_TEXT)];
        let here = |index: usize| match (header, &rows[index].header) {
            (Some(name), Some(wanted)) => name.eq_ignore_ascii_case(wanted),
            _ => true,
        };
        let mut best: Option<usize> = None;
        let mut consider = |index: usize| best = Some(best.map_or(index, |best| best.min(index)));
        let mut try_expressions = self.expressions.as_ref().is_some_and(|expressions| expressions.always);
        for found in self.needles.find(text) {
            match &self.meanings[found.pattern().as_usize()] {
                Meaning::TryExpressions => try_expressions = true,
                Meaning::Row { index, exactly } => {
                    let fits = match rows[*index].match_kind {
                        MatchKind::Full => found.start() == 0 && found.end() == whole,
                        MatchKind::Prefix => found.start() == 0,
                        MatchKind::Contains | MatchKind::Regex => true,
                    };
                    let as_written = exactly
                        .as_ref()
                        .is_none_or(|exactly| text[found.range()] == exactly[..]);
                    if fits && as_written && here(*index) {
                        consider(*index);
                    }
                }
            }
        }
        if let Some(expressions) = self.expressions.as_ref().filter(|_| try_expressions) {
            for met in &expressions.set.matches(text) {
                let index = expressions.owners[met];
                if here(index) {
                    consider(index);
                }
            }
        }
        best
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
            url: String::new(),
            letters: Letters::AnyCase,
            place: None,
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
        let mut twice: Vec<Row> = pack.rows().iter().map(|row| Row::clone(row)).collect();
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
                FactKind::HttpHead | FactKind::HttpAnswer | FactKind::DnsText => unreachable!("of given lists only"),
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

    /// A pack of ours and a list, and what of it a page, a head and an alias match.
    fn given(list: &str) -> Pack {
        Pack::builtin_and(crate::detect::packs::list::read("given", list.as_bytes()).unwrap().rows).unwrap()
    }

    fn page<'p>(pack: &'p Pack, body: &str) -> Option<(&'p str, MatchedIn)> {
        hit(
            pack,
            &ResponseFacts {
                body: body.as_bytes(),
                ..Default::default()
            },
        )
    }

    #[test]
    fn expressions_are_met_where_their_text_and_all_else_is() {
        let pack = given(
            "{\"fingerprint\":\"c_isp_zz_a\",\"pattern\":\"ordered by .* to stop\"}\n\
             {\"fingerprint\":\"c_isp_zz_b\",\"pattern\":\"st[ao]p\\\\.example\"}\n\
             {\"fingerprint\":\"c_isp_zz_c\",\"pattern\":\"Gate: Sieve\"}\n\
             {\"fingerprint\":\"c_isp_zz_d\",\"pattern\":\"[0-9]{5}\"}\n",
        );
        assert_eq!(
            page(&pack, "ordered by a\ncourt to stop"),
            Some(("c_isp_zz_a", MatchedIn::Body))
        );
        assert_eq!(page(&pack, "ordered by a court"), None);
        assert_eq!(page(&pack, "at stap.example"), Some(("c_isp_zz_b", MatchedIn::Body)));
        assert_eq!(page(&pack, "at stop-example"), None);
        assert_eq!(page(&pack, "no. 12345"), Some(("c_isp_zz_d", MatchedIn::Body)));
        // Letters count, and the head is searched as the page is.
        assert_eq!(page(&pack, "gate: sieve"), None);
        let facts = ResponseFacts {
            head: b"HTTP/1.1 403 Forbidden\r\nGate: Sieve\r\n\r\n",
            ..Default::default()
        };
        assert_eq!(hit(&pack, &facts), Some(("c_isp_zz_c", MatchedIn::Head)));
    }

    #[test]
    fn a_given_false_positive_goes_before_what_we_know() {
        let ours = "FortiGuard Web Filtering";
        assert!(page(Pack::builtin(), ours).is_some());
        let pack = given("{\"x_demo\": \"a demo of Forti.*Filtering\"}");
        assert_eq!(page(&pack, ours).unwrap().0, "body-fortiguard");
        assert_eq!(page(&pack, "a demo of FortiGuard Web Filtering").unwrap().0, "x_demo");
    }

    #[test]
    fn dns_rows_meet_addresses_and_aliases() {
        let pack = given(
            "name,scope,location_found,pattern_type,pattern\na,isp,dns,full,192.0.2.66\nb,isp,dns,full,stop.example\n\
             c,isp,dns,prefix,198.51.100.\n",
        );
        let address = |text: &str| pack.dns_address(text.parse().unwrap()).map(|row| row.id.as_str());
        assert_eq!((address("192.0.2.66"), address("198.51.100.3")), (Some("a"), Some("c")));
        assert_eq!(address("192.0.2.67"), None);
        assert_eq!(pack.dns_alias("stop.example").map(|row| row.id.as_str()), Some("b"));
        assert!(pack.dns_alias("www.stop.example").is_none());
        // What comes with the program is still there.
        assert_eq!(address("10.10.34.36"), Some("dns-ir-10.10.34.36"));
    }

    #[test]
    fn names_given_twice_do_no_harm_and_the_surest_row_is_preferred() {
        let pack = given(
            "name,scope,location_found,pattern_type,pattern,confidence_no_fp\na,isp,body,contains,stop here,4\n\
             a,isp,body,contains,stop here,8\n",
        );
        let facts = ResponseFacts {
            body: b"stop here",
            ..Default::default()
        };
        assert_eq!(pack.match_response(&facts).unwrap().row.confidence, 8);
    }

    #[test]
    fn a_list_of_some_thousand_rows_is_searched_in_one_pass() {
        let lines: String = (0..5000)
            .map(|row| format!("{{\"fingerprint\":\"c_isp_{row}\",\"pattern\":\"notice {row:05} .* of the gate\"}}\n"))
            .collect();
        let pack = given(&lines);
        assert_eq!(
            page(&pack, "notice 04711 and more of the gate"),
            Some(("c_isp_4711", MatchedIn::Body))
        );
        assert_eq!(page(&pack, "notice 4711 of the gate"), None);
    }

    #[test]
    fn kazakhstan_is_known_as_surely_as_its_sources_are() {
        let row = |id: &str| {
            let pack = Pack::builtin();
            let row = pack.rows().iter().find(|row| row.id == id).expect(id);
            assert_eq!(row.countries, ["KZ"], "{id}");
            (row.kind, row.scope, row.confidence)
        };
        use {FactKind as K, Scope as S};
        assert_eq!(row("issuer-kz-qaznet"), (K::TlsIssuer, S::National, 10));
        assert_eq!(row("issuer-kz-isca"), (K::TlsIssuer, S::National, 10));
        assert_eq!(row("issuer-kz-root-2015"), (K::TlsIssuer, S::National, 9));
        // Remembered, not published; and words anybody may use.
        assert_eq!(row("location-kz-kazakhtelecom"), (K::HttpLocation, S::Vague, 3));
        assert_eq!(row("body-kz-page-blocked"), (K::HttpBody, S::Vague, 3));
        for issuer in [
            "C=KZ, CN=Qaznet Trust Network",
            "C=KZ, O=ISCA, CN=Information Security Certification Authority",
            "C=KZ, O=ISCA, CN=Information Security Certification Authority CA",
        ] {
            assert!(Pack::builtin().tls_issuer(issuer.as_bytes()).is_some(), "{issuer}");
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

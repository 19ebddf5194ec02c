//! HTTP heads against `httparse` as strict as it comes. Our reader is built upon it, but lets pass much that breaks the
//! grammar, as browsers and filtering boxes do: that must change nothing about a head that keeps it.

use std::sync::LazyLock;

use blockscope::payload::http_head::{Extent, Headers, MAX_HEADERS, RequestHead, ResponseHead};
use httparse::{EMPTY_HEADER, Request, Response, Status};
use proptest::prelude::*;

use crate::captures::segments;
use crate::trials;

/// The segments of all fixtures that begin with a head, and some that are odder.
static HEADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut found: Vec<_> = segments()
        .into_iter()
        .filter(|segment| by_httparse(segment).is_some())
        .collect();
    for odd in [
        "OPTIONS * HTTP/1.1\r\nhOsT:\tblocked.example \r\nHost: other.example\r\n\r\n",
        "GET http://u@blocked.example:81/a?b HTTP/1.0\n\n",
        "CONNECT blocked.example:443 HTTP/1.1\r\n\r\nbehind",
        "\r\n\nHEAD / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nEmpty:\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.0 302 \r\nLocation: //warning.example/\r\nVia: 1.1 a, 1.0 b\r\n\r\n<html>",
        "HTTP/1.1 451 Unavailable For Legal Reasons\nLink: <https://spqr.example>; rel=\"blocked-by\"\n\n",
    ] {
        found.push(odd.as_bytes().to_vec());
    }
    let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    found.extend([MAX_HEADERS - 1, MAX_HEADERS].map(|count| many(count).into_bytes()));
    found.sort();
    found.dedup();
    found
});

/// What a head says: its first line, its headers and where the body begins.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    line: Vec<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    body_at: usize,
}

/// A whole head without any fault, `None` for all else.
fn by_httparse(bytes: &[u8]) -> Option<Told> {
    let named = |headers: &[httparse::Header<'_>]| {
        let pairs = headers
            .iter()
            .map(|header| (header.name.to_owned(), header.value.to_vec()));
        pairs.collect()
    };
    let mut slots = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut slots);
    if let Ok(Status::Complete(body_at)) = request.parse(bytes) {
        return Some(Told {
            line: vec![request.method?.into(), request.path?.into()],
            headers: named(request.headers),
            body_at,
        });
    }
    let mut slots = [EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut slots);
    match response.parse(bytes) {
        Ok(Status::Complete(body_at)) => Some(Told {
            line: vec![
                response.version?.to_string().into(),
                response.code?.to_string().into(),
                // Several spaces are one to us.
                response.reason?.trim_start_matches(' ').into(),
            ],
            headers: named(response.headers),
            body_at,
        }),
        Ok(Status::Partial) | Err(_) => None,
    }
}

fn by_us(bytes: &[u8]) -> Option<Told> {
    let told = |line: Vec<Vec<u8>>, headers: &Headers<'_>, extent: Extent| {
        let pairs = headers.as_slice().iter();
        Some(Told {
            line,
            headers: pairs
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
            body_at: extent.body_at()?,
        })
    };
    if let Some(head) = RequestHead::read(bytes).head() {
        return told(
            vec![head.method.into(), head.target.to_vec()],
            &head.headers,
            head.extent,
        );
    }
    let head = ResponseHead::read(bytes).head()?;
    let line = vec![
        head.minor_version.to_string().into(),
        head.status.to_string().into(),
        head.reason.into(),
    ];
    told(line, &head.headers, head.extent)
}

/// Methods nobody uses are no HTTP to us: the look for them is what keeps other protocols out.
fn is_ours(told: &Told) -> bool {
    told.line.len() == 3 || blockscope::payload::http_head::looks_like_request(&[&told.line[0][..], b" "].concat())
}

#[test]
fn there_are_heads_to_try() {
    assert!(HEADS.len() > 30, "{}", HEADS.len());
    for head in HEADS.iter() {
        assert_eq!(by_us(head), by_httparse(head), "{}", String::from_utf8_lossy(head));
    }
}

proptest! {
    #![proptest_config(trials(4096))]

    /// Octets changed, taken out and put in, of those that mean something in a head.
    #[test]
    fn a_head_that_keeps_the_grammar_is_read_as_it_stands(
        index in any::<prop::sample::Index>(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_u8..3, prop::sample::select(b"\r\n\t :,;\"<>/.aZ09\x00\x7f\x80".to_vec())),
            0..6,
        ),
    ) {
        let mut bytes = HEADS[index.index(HEADS.len())].clone();
        for (place, how, octet) in changes {
            let place = place.index(bytes.len().clamp(1, 400));
            match how {
                0 if place < bytes.len() => bytes[place] = octet,
                1 if place < bytes.len() => _ = bytes.remove(place),
                _ => bytes.insert(place.min(bytes.len()), octet),
            }
        }
        if let Some(theirs) = by_httparse(&bytes).filter(is_ours) {
            prop_assert_eq!(by_us(&bytes), Some(theirs));
        }
    }

    /// What was read of a part is what is read of the whole.
    #[test]
    fn a_head_that_is_cut_says_what_the_whole_says(index in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let whole = &HEADS[index.index(HEADS.len())];
        let cut = &whole[..at.index(whole.len())];
        if let (Some(part), Some(all)) = (RequestHead::read(cut).head(), RequestHead::read(whole).head()) {
            prop_assert_eq!((part.method, part.target), (all.method, all.target));
            let (few, many) = (part.headers.as_slice(), all.headers.as_slice());
            prop_assert!(many.starts_with(few), "{:?} {:?}", few, many);
        }
        if let (Some(part), Some(all)) = (ResponseHead::read(cut).head(), ResponseHead::read(whole).head()) {
            prop_assert_eq!((part.minor_version, part.status, part.reason), (all.minor_version, all.status, all.reason));
            let (few, many) = (part.headers.as_slice(), all.headers.as_slice());
            prop_assert!(many.starts_with(few), "{:?} {:?}", few, many);
        }
    }
}

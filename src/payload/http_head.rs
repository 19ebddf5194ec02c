//! The head of an HTTP/1 request or response: its first line and its headers, borrowed from the bytes.
//!
//! `httparse` does the reading; this adds what judging packets needs. A head that is cut, by the end of a segment or by
//! the capture's snap length, gives what is complete in it. Headers that break the grammar are passed over, as browsers
//! and filtering boxes do. Of a request the interesting thing is the host it names, of a response where it sends the
//! client and who says to have sent it.

use memchr::memchr;

pub use httparse::Header;

/// How many headers of one head are read. Those behind are not looked at, and the body is still found.
pub const MAX_HEADERS: usize = 64;

/// What reading a head came to.
#[derive(Clone, Debug)]
pub enum HttpRead<H> {
    /// A head, whole or with at least its first line complete.
    Head(H),
    /// Nothing speaks against HTTP so far, but the first line has no end yet.
    Incomplete,
    /// No HTTP/1.
    NotHttp,
}

impl<H> HttpRead<H> {
    /// The head, if there is one.
    #[must_use]
    pub fn head(self) -> Option<H> {
        match self {
            Self::Head(head) => Some(head),
            Self::Incomplete | Self::NotHttp => None,
        }
    }
}

/// How much of a head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole {
        /// The offset of the first octet behind the head.
        body_at: usize,
    },
    /// It is cut somewhere in its headers.
    Cut,
}

impl Extent {
    /// The offset of the body, if the head's end is known.
    #[must_use]
    pub const fn body_at(self) -> Option<usize> {
        match self {
            Self::Whole { body_at } => Some(body_at),
            Self::Cut => None,
        }
    }
}

/// The headers of a head, at most [`MAX_HEADERS`], in their order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    slots: [Header<'a>; MAX_HEADERS],
    count: usize,
}

impl<'a> Headers<'a> {
    /// Counts the slots that were filled: on an error, too, `httparse` leaves those it had read in place.
    fn new(slots: [Header<'a>; MAX_HEADERS]) -> Self {
        let count = slots
            .iter()
            .position(|slot| slot.name.is_empty())
            .unwrap_or(MAX_HEADERS);
        Self { slots, count }
    }

    /// The headers as they came.
    #[must_use]
    pub fn as_slice(&self) -> &[Header<'a>] {
        &self.slots[..self.count]
    }

    /// The value of the first header called `name`, whatever its case, without white space around.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// The values of all headers called `name`.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.as_slice()
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.trim_ascii())
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method, `GET` and the like.
    pub method: &'a str,
    /// The target as it stands: a path, or a whole URL as proxies are asked.
    pub target: &'a [u8],
    /// The headers.
    pub headers: Headers<'a>,
    /// How much of the head is there.
    pub extent: Extent,
}

impl<'a> RequestHead<'a> {
    /// Reads the head of a request from the beginning of `bytes`, which may end or be cut anywhere.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> HttpRead<Self> {
        if !looks_like_request(bytes) {
            return HttpRead::NotHttp;
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut slots);
        let mut config = httparse::ParserConfig::default();
        config
            .ignore_invalid_headers_in_requests(true)
            .allow_multiple_spaces_in_request_line_delimiters(true);
        let result = config.parse_request(&mut request, bytes);
        // `version` is the first line's last part: with it the line is whole.
        let (method, target, version) = (request.method, request.path, request.version);
        match (method, target, version) {
            (Some(method), Some(target), Some(_)) => {
                let (headers, extent) = headers(bytes, slots, result);
                HttpRead::Head(Self {
                    method,
                    target: target.as_bytes(),
                    headers,
                    extent,
                })
            }
            _ if matches!(result, Ok(httparse::Status::Partial)) => HttpRead::Incomplete,
            _ => Self::read_leniently(bytes),
        }
    }

    /// Reads a first line that breaks the grammar (octets that are no UTF-8, an odd version or none) the way a filtering
    /// box would: split at the spaces.
    fn read_leniently(bytes: &'a [u8]) -> HttpRead<Self> {
        let bytes = skip_empty_lines(bytes);
        let Some(line_end) = memchr(b'\n', bytes) else {
            return HttpRead::Incomplete;
        };
        let mut parts = bytes[..line_end]
            .trim_ascii()
            .split(|&octet| octet == b' ')
            .filter(|part| !part.is_empty());
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return HttpRead::NotHttp;
        };
        let Ok(method) = std::str::from_utf8(method) else {
            return HttpRead::NotHttp;
        };
        let (headers, extent) = read_headers(bytes, line_end + 1);
        HttpRead::Head(Self {
            method,
            target,
            headers,
            extent,
        })
    }

    /// The host the request is for, without its port: of the target if that is a whole URL or a `CONNECT`'s authority
    /// (RFC 9112 3.2), else of the Host header. The case is kept; an IPv6 address comes without its brackets.
    ///
    /// `None` if no host is named or it is no text.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.authority().and_then(host_of_authority)
    }

    /// The host and, if there is one, port as they stand.
    #[must_use]
    pub fn authority(&self) -> Option<&'a [u8]> {
        if self.method == "CONNECT" {
            return Some(self.target);
        }
        authority_of_url(self.target).or_else(|| self.headers.get("host"))
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead<'a> {
    /// The minor version, 0 or 1.
    pub minor_version: u8,
    /// The status code, 0 to 999.
    pub status: u16,
    /// The reason phrase, empty if it is missing or no ASCII.
    pub reason: &'a str,
    /// The headers.
    pub headers: Headers<'a>,
    /// How much of the head is there.
    pub extent: Extent,
}

impl<'a> ResponseHead<'a> {
    /// Reads the head of a response from the beginning of `bytes`, which may end or be cut anywhere.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> HttpRead<Self> {
        if !looks_like_response(bytes) {
            return HttpRead::NotHttp;
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut slots);
        let mut config = httparse::ParserConfig::default();
        config
            .ignore_invalid_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true);
        let result = config.parse_response(&mut response, bytes);
        // `reason` is set, if only to nothing, when the first line is whole.
        match (response.version, response.code, response.reason) {
            (Some(minor_version), Some(status), Some(reason)) => {
                let (headers, extent) = headers(bytes, slots, result);
                HttpRead::Head(Self {
                    minor_version,
                    status,
                    reason,
                    headers,
                    extent,
                })
            }
            _ if matches!(result, Ok(httparse::Status::Partial)) => HttpRead::Incomplete,
            _ => Self::read_leniently(bytes),
        }
    }

    /// Reads an odd status line as far as its code, which is what clients act upon.
    fn read_leniently(bytes: &'a [u8]) -> HttpRead<Self> {
        let Some(line_end) = memchr(b'\n', bytes) else {
            return HttpRead::Incomplete;
        };
        let mut parts = bytes[..line_end]
            .split(|octet| octet.is_ascii_whitespace())
            .filter(|part| !part.is_empty());
        let version = parts.next().and_then(|version| version.strip_prefix(b"HTTP/1."));
        let code = parts
            .next()
            .filter(|code| code.len() == 3)
            .and_then(|code| std::str::from_utf8(code).ok());
        let (Some(version), Some(Ok(status))) = (version, code.map(str::parse)) else {
            return HttpRead::NotHttp;
        };
        let (headers, extent) = read_headers(bytes, line_end + 1);
        HttpRead::Head(Self {
            minor_version: u8::from(version == b"1"),
            status,
            reason: "",
            headers,
            extent,
        })
    }

    /// Where a redirect leads.
    #[must_use]
    pub fn location(&self) -> Option<&'a [u8]> {
        self.headers.get("location")
    }

    /// The host that a redirect leads to, if its target is a whole URL.
    #[must_use]
    pub fn location_host(&self) -> Option<&'a str> {
        authority_of_url(self.location()?).and_then(host_of_authority)
    }

    /// What software says to have answered.
    #[must_use]
    pub fn server(&self) -> Option<&'a [u8]> {
        self.headers.get("server")
    }

    /// The proxies the response says to have come through.
    #[must_use]
    pub fn via(&self) -> Option<&'a [u8]> {
        self.headers.get("via")
    }

    /// When the response says it was made.
    #[must_use]
    pub fn date(&self) -> Option<&'a [u8]> {
        self.headers.get("date")
    }

    /// The body's media type.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.headers.get("content-type")
    }

    /// The body's length in octets as declared.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.headers.get("content-length")?)
            .ok()?
            .parse()
            .ok()
    }

    /// How the body is coded.
    #[must_use]
    pub fn content_coding(&self) -> ContentCoding {
        match self.headers.get("content-encoding") {
            None => ContentCoding::Identity,
            Some(coding) if coding.is_empty() || coding.eq_ignore_ascii_case(b"identity") => ContentCoding::Identity,
            Some(coding) if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") => {
                ContentCoding::Gzip
            }
            Some(coding) if coding.eq_ignore_ascii_case(b"deflate") => ContentCoding::Deflate,
            Some(_) => ContentCoding::Other,
        }
    }

    /// Whether the body comes in chunks (RFC 9112 7.1).
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.headers.get("transfer-encoding").is_some_and(|coding| {
            coding
                .rsplit(|&octet| octet == b',')
                .next()
                .is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        })
    }

    /// Whether the sender says that it closes the connection behind this response.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self.headers.get("connection") {
            Some(options) => options
                .split(|&octet| octet == b',')
                .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close")),
            None => self.minor_version == 0,
        }
    }

    /// Who carries the blocking out, by a `Link` of relation `blocked-by` (RFC 7725 4).
    #[must_use]
    pub fn blocked_by(&self) -> Option<&'a [u8]> {
        self.headers
            .get_all("link")
            .flat_map(|value| value.split(|&octet| octet == b','))
            .find_map(|link| {
                let start = memchr(b'<', link)? + 1;
                let end = start + memchr(b'>', &link[start..])?;
                let named = link[end..].split(|&octet| octet == b';').any(|parameter| {
                    let Some((key, relation)) = parameter.trim_ascii().split_first_chunk::<4>() else {
                        return false;
                    };
                    let relation = relation
                        .strip_prefix(b"\"")
                        .and_then(|quoted| quoted.strip_suffix(b"\""))
                        .unwrap_or(relation);
                    key.eq_ignore_ascii_case(b"rel=") && relation.eq_ignore_ascii_case(b"blocked-by")
                });
                named.then(|| &link[start..end])
            })
    }
}

/// How a body is coded (RFC 9110 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentCoding {
    /// Not at all.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950), or bare deflate as some servers send.
    Deflate,
    /// Anything else, such as Brotli.
    Other,
}

/// Whether `bytes` begin like an HTTP request: with a method and a space, or, if they are shorter, with a part of that.
///
/// A cheap look for the fast path; empty lines in front are allowed (RFC 9112 2.2).
#[inline]
#[must_use]
pub fn looks_like_request(bytes: &[u8]) -> bool {
    // RFC 9110 9.3, RFC 5789, WebDAV's of RFC 4918, RFC 3253's most used, and Microsoft's RPC over HTTP.
    const METHODS: [&[u8]; 19] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"CONNECT ",
        b"OPTIONS ",
        b"DELETE ",
        b"PATCH ",
        b"TRACE ",
        b"PROPFIND ",
        b"PROPPATCH ",
        b"MKCOL ",
        b"COPY ",
        b"MOVE ",
        b"LOCK ",
        b"UNLOCK ",
        b"REPORT ",
        b"RPC_IN_DATA ",
        b"RPC_OUT_DATA ",
    ];
    let bytes = skip_empty_lines(bytes);
    bytes.first().is_some_and(u8::is_ascii_uppercase)
        && METHODS.iter().any(|method| {
            let common = method.len().min(bytes.len());
            method[..common] == bytes[..common]
        })
}

/// Whether `bytes` begin like an HTTP/1 response, or, if they are shorter than that, may do so.
#[inline]
#[must_use]
pub fn looks_like_response(bytes: &[u8]) -> bool {
    const PREFIX: &[u8] = b"HTTP/1.";
    let common = PREFIX.len().min(bytes.len());
    common > 0 && PREFIX[..common] == bytes[..common]
}

/// The host and port of a whole URL (RFC 3986 3.2), also of one that leaves its scheme out (`//host/`); `None` for a path.
#[must_use]
pub fn authority_of_url(url: &[u8]) -> Option<&[u8]> {
    let scheme = url
        .iter()
        .take_while(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(octet))
        .count();
    let rest = if scheme > 0 {
        url[scheme..].strip_prefix(b"://")?
    } else {
        url.strip_prefix(b"//")?
    };
    let end = rest
        .iter()
        .position(|octet| b"/?#\\".contains(octet))
        .unwrap_or(rest.len());
    let authority = &rest[..end];
    // What stands before an @ is a user's name.
    Some(memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]))
}

/// The host of `host:port`, `host` or `[v6]:port`.
#[must_use]
pub fn host_of_authority(authority: &[u8]) -> Option<&str> {
    let host = match authority.strip_prefix(b"[") {
        Some(v6) => &v6[..memchr(b']', v6)?],
        None => match memchr(b':', authority) {
            Some(colon) => &authority[..colon],
            None => authority,
        },
    };
    std::str::from_utf8(host.trim_ascii())
        .ok()
        .filter(|host| !host.is_empty())
}

fn skip_empty_lines(bytes: &[u8]) -> &[u8] {
    const MOST: usize = 4;
    let empty = bytes
        .iter()
        .take(MOST)
        .take_while(|octet| b"\r\n".contains(octet))
        .count();
    &bytes[empty..]
}

/// Reads headers the way a tolerant server does: a line that makes no sense is passed over, whatever it holds.
fn read_headers(bytes: &[u8], at: usize) -> (Headers<'_>, Extent) {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut free = slots.iter_mut();
    let mut at = at;
    let extent = loop {
        let Some(length) = memchr(b'\n', &bytes[at..]) else {
            break Extent::Cut;
        };
        let line = bytes[at..at + length].trim_ascii_end();
        at += length + 1;
        if line.is_empty() {
            break Extent::Whole { body_at: at };
        }
        let Some(colon) = memchr(b':', line) else { continue };
        let Ok(name) = std::str::from_utf8(line[..colon].trim_ascii()) else {
            continue;
        };
        if !name.is_empty()
            && let Some(slot) = free.next()
        {
            *slot = Header {
                name,
                value: line[colon + 1..].trim_ascii(),
            };
        }
    };
    (Headers::new(slots), extent)
}

/// The headers that `httparse` has read, or, where it met what it cannot pass over, those that a tolerant server reads.
fn headers<'a>(
    bytes: &'a [u8],
    slots: [Header<'a>; MAX_HEADERS],
    result: httparse::Result<usize>,
) -> (Headers<'a>, Extent) {
    match result {
        Ok(httparse::Status::Complete(body_at)) => (Headers::new(slots), Extent::Whole { body_at }),
        Ok(httparse::Status::Partial) => (Headers::new(slots), Extent::Cut),
        Err(_) => {
            let empty = bytes.len() - skip_empty_lines(bytes).len();
            match memchr(b'\n', &bytes[empty..]) {
                Some(line_end) => read_headers(bytes, empty + line_end + 1),
                None => (Headers::new(slots), Extent::Cut),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(bytes: &[u8]) -> RequestHead<'_> {
        RequestHead::read(bytes).head().unwrap()
    }

    fn response(bytes: &[u8]) -> ResponseHead<'_> {
        ResponseHead::read(bytes).head().unwrap()
    }

    #[test]
    fn a_request_names_its_host_without_the_port() {
        let bytes = b"GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nhOsT:  Blocked.Example:8080 \r\n\r\nbody";
        let head = request(bytes);
        assert_eq!((head.method, head.target), ("GET", b"/a?b".as_slice()));
        assert_eq!(head.host(), Some("Blocked.Example"));
        assert_eq!(
            head.extent,
            Extent::Whole {
                body_at: bytes.len() - 4
            }
        );
    }

    #[test]
    fn a_whole_url_as_target_names_the_host_before_the_header_does() {
        assert_eq!(
            request(b"GET http://u@a.example:81/x HTTP/1.1\r\nHost: b.example\r\n\r\n").host(),
            Some("a.example")
        );
        assert_eq!(
            request(b"CONNECT c.example:443 HTTP/1.1\r\nHost: b.example\r\n\r\n").host(),
            Some("c.example")
        );
        assert_eq!(
            request(b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n").host(),
            Some("2001:db8::1")
        );
        assert_eq!(request(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").host(), None);
    }

    #[test]
    fn a_cut_request_gives_the_headers_that_are_complete() {
        let head = request(b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: abc");
        assert_eq!((head.host(), head.extent), (Some("a.example"), Extent::Cut));
        assert_eq!(request(b"GET / HTTP/1.1\r\nHost: a.exam").host(), None);
        assert!(matches!(RequestHead::read(b"GET /index.ht"), HttpRead::Incomplete));
        assert!(matches!(RequestHead::read(b"GE"), HttpRead::Incomplete));
        assert!(matches!(RequestHead::read(b"\x16\x03\x01"), HttpRead::NotHttp));
    }

    #[test]
    fn what_breaks_the_grammar_is_passed_over() {
        let head = request(b"GET /\xff\xfe HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!((head.host(), head.target), (Some("a.example"), b"/\xff\xfe".as_slice()));
        assert_eq!(
            request(b"GET / HTTP/1.9\r\nHost: a.example\r\n\r\n").host(),
            Some("a.example")
        );
        assert_eq!(
            request(b"GET / HTTP/1.1\r\nbad header: x\r\nHost: a.example\r\n\r\n").host(),
            Some("a.example")
        );
        assert_eq!(
            request(b"\r\nGET / HTTP/1.1\nHost: a.example\n\n").host(),
            Some("a.example")
        );
        assert_eq!(
            request(b"GET  /  HTTP/1.1\r\nHost: a.example\r\n\r\n").host(),
            Some("a.example")
        );
    }

    #[test]
    fn headers_beyond_the_bound_do_not_hide_the_body() {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a.example\r\n".to_vec();
        for index in 0..100 {
            bytes.extend(format!("X-{index}: y\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        let head = request(&bytes);
        assert_eq!(head.headers.as_slice().len(), MAX_HEADERS);
        assert_eq!(
            (head.host(), head.extent),
            (Some("a.example"), Extent::Whole { body_at: bytes.len() })
        );
    }

    #[test]
    fn a_response_tells_where_it_leads_and_how_its_body_comes() {
        let bytes = b"HTTP/1.1 302 Found\r\nLocation: http://block.example/x\r\nServer: s\r\nVia: 1.1 v\r\n\
            Content-Length: 12\r\nContent-Encoding: gzip\r\nTransfer-Encoding: gzip, Chunked\r\n\
            Connection: keep-alive, Close\r\nDate: d\r\n\r\nbody";
        let head = response(bytes);
        assert_eq!((head.minor_version, head.status, head.reason), (1, 302, "Found"));
        assert_eq!(head.location_host(), Some("block.example"));
        assert_eq!(
            (head.server(), head.via(), head.date()),
            (Some(&b"s"[..]), Some(&b"1.1 v"[..]), Some(&b"d"[..]))
        );
        assert_eq!(
            (head.content_length(), head.content_coding()),
            (Some(12), ContentCoding::Gzip)
        );
        assert!(head.is_chunked() && head.closes());
        assert_eq!(&bytes[head.extent.body_at().unwrap()..], b"body");
    }

    #[test]
    fn legal_blocking_names_who_carries_it_out() {
        let head = |link: &str| format!("HTTP/1.1 451 Unavailable For Legal Reasons\r\nLink: {link}\r\n\r\n");
        let named = head("<https://x.example/>; rel=\"next\", <https://isp.example/law>; rel=\"blocked-by\"");
        assert_eq!(
            response(named.as_bytes()).blocked_by(),
            Some(&b"https://isp.example/law"[..])
        );
        let bare = head("<https://isp.example/>; rel=blocked-by");
        assert_eq!(
            response(bare.as_bytes()).blocked_by(),
            Some(&b"https://isp.example/"[..])
        );
        assert_eq!(
            response(head("<https://x.example/>; rel=\"next\"").as_bytes()).blocked_by(),
            None
        );
    }

    #[test]
    fn odd_status_lines_are_read_as_clients_read_them() {
        assert_eq!(
            response(b"HTTP/1.0 302\r\nLocation: /\r\n\r\n").location(),
            Some(&b"/"[..])
        );
        assert_eq!(
            response(b"HTTP/1.1 302 \xcd\xe0\r\nLocation: /\r\n\r\n").location(),
            Some(&b"/"[..])
        );
        assert_eq!(
            response(b"HTTP/1.2 200 OK\r\nServer: x\r\n\r\n").server(),
            Some(&b"x"[..])
        );
        assert!(response(b"HTTP/1.0 200 OK\r\n\r\n").closes() && !response(b"HTTP/1.1 200 OK\r\n\r\n").closes());
        assert!(matches!(ResponseHead::read(b"HTTP/1.1 30"), HttpRead::Incomplete));
        assert!(matches!(ResponseHead::read(b"HTTP/1.1 abc\r\n\r\n"), HttpRead::NotHttp));
        assert!(matches!(ResponseHead::read(b"SSH-2.0-x\r\n"), HttpRead::NotHttp));
    }

    proptest! {
        #[test]
        fn random_and_mutated_heads_never_panic(
            random in proptest::collection::vec(any::<u8>(), 0..200),
            changes in proptest::collection::vec((0usize..140, any::<u8>()), 0..6), cut in 0usize..140,
        ) {
            let mut bytes = b"GET http://a/ HTTP/1.1\r\nHost: [::1]:8\r\nLink: <x>; rel=blocked-by\r\n\r\n".to_vec();
            for (at, octet) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = octet;
                }
            }
            bytes.truncate(cut);
            let reply = [b"HTTP/1.1 302 F\r\n".as_slice(), &bytes, &random].concat();
            for bytes in [&random, &bytes, &reply] {
                _ = RequestHead::read(bytes).head().map(|head| head.host().map(str::len));
                _ = ResponseHead::read(bytes).head().map(|head| (head.blocked_by(), head.location_host().map(str::len)));
            }
        }
    }
}

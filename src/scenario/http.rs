//! HTTP/1.1 as the story's browsers and sites speak it: requests and answers are built here and cut out of a byte
//! stream again; what is inside a page is filler.

/// A request as a site or a filter reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) host: String,
    pub(crate) path: String,
}

/// The part of an answer that a client acts upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// Whether the server will close the connection.
    pub(crate) closes: bool,
}

/// Builds a browser's request.
pub(crate) fn request(host: &str, path: &str, upload: usize) -> Vec<u8> {
    let method = if upload > 0 { "POST" } else { "GET" };
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) \
         Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    );
    if upload > 0 {
        text.push_str(&format!(
            "Content-Type: application/octet-stream\r\nContent-Length: {upload}\r\n"
        ));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend(filler(upload));
    bytes
}

/// Readable filler of exactly this length.
pub(crate) fn filler(len: usize) -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n";
    line.iter().copied().cycle().take(len).collect()
}

/// An HTML page of about this many bytes.
pub(crate) fn page(title: &str, len: usize) -> Vec<u8> {
    let head = format!("<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body>\n<p>");
    let tail = "</p>\n</body></html>\n";
    let mut bytes = head.into_bytes();
    bytes.extend(filler(len.saturating_sub(bytes.len() + tail.len())));
    bytes.extend_from_slice(tail.as_bytes());
    bytes
}

/// The usual words for a status code.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        451 => "Unavailable For Legal Reasons",
        503 => "Service Unavailable",
        511 => "Network Authentication Required",
        _ => "Status",
    }
}

/// Cuts the first complete request out of what has been received.
pub(crate) fn take_request(buffer: &mut Vec<u8>) -> Option<Request> {
    let head_len = find(buffer, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..head_len]).into_owned();
    let body = header(&head, "content-length")
        .and_then(|value| value.parse::<usize>().ok())
        .unwrap_or(0);
    if buffer.len() < head_len + body {
        return None;
    }
    buffer.drain(..head_len + body);
    Some(Request {
        host: header(&head, "host").unwrap_or_default().to_owned(),
        path: head.split(' ').nth(1).unwrap_or("/").to_owned(),
    })
}

/// The host a packet's payload names, if it begins a request: one packet, no reassembly, as most filters do.
pub(crate) fn host_of(payload: &[u8]) -> Option<String> {
    let starts = [&b"GET "[..], b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT "];
    if !starts.iter().any(|start| payload.starts_with(start)) {
        return None;
    }
    let text = String::from_utf8_lossy(payload);
    let host = header(&text, "host")?;
    Some(host.split(':').next().unwrap_or(host).to_ascii_lowercase())
}

/// Cuts the first complete answer out of what has been received; `ended` says that the server has closed.
pub(crate) fn take_answer(buffer: &mut Vec<u8>, ended: bool) -> Option<Answer> {
    let head_len = find(buffer, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..head_len]).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let chunked = header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = header(&head, "content-length").and_then(|value| value.parse::<usize>().ok());
    let total = if chunked {
        head_len + chunked_len(&buffer[head_len..])?
    } else if let Some(length) = length {
        if buffer.len() < head_len + length && !ended {
            return None;
        }
        (head_len + length).min(buffer.len())
    } else if matches!(status, 204 | 304) {
        head_len
    } else if ended {
        buffer.len()
    } else {
        return None;
    };
    buffer.drain(..total);
    let closes = header(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Some(Answer {
        status,
        location: header(&head, "location").map(str::to_owned),
        closes,
    })
}

/// Writes a body in chunks of at most this size (RFC 9112 section 7.1).
pub(crate) fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(size.max(1)) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn chunked_len(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&body[at..], b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[at..at + line]).ok()?.trim(), 16).ok()?;
        at = at.checked_add(line + 2 + size + 2)?;
        if at > body.len() {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cut_out_only_when_complete() {
        let whole = request("news.example", "/a", 10);
        let mut buffer = whole[..whole.len() - 1].to_vec();
        assert_eq!(take_request(&mut buffer), None);
        buffer.push(*whole.last().unwrap());
        assert_eq!(take_request(&mut buffer).unwrap().path, "/a");
        assert!(buffer.is_empty());
        assert_eq!(host_of(&whole).as_deref(), Some("news.example"));
    }

    #[test]
    fn chunks_read_back_to_their_end() {
        let mut buffer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        buffer.extend(chunks(&filler(1000), 300));
        let last = buffer.pop().unwrap();
        assert_eq!(take_answer(&mut buffer, false), None);
        buffer.push(last);
        assert_eq!(take_answer(&mut buffer, false).unwrap().status, 200);
        assert!(buffer.is_empty());
    }
}

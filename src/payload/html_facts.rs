//! What a short HTML page says at a glance: its title and where it sends the reader.
//!
//! No HTML parser: one bounded scan for the few tags that block pages are made of. A page can hide from it, but a page
//! that is meant to be seen has no reason to.

use memchr::{memchr, memmem};

/// How many octets of a page are looked at.
const MAX_PAGE: usize = 16 * 1024;

/// How many octets one tag or one script is looked at.
const MAX_TAG: usize = 1024;

/// How many scripts of a page are looked at.
const MAX_SCRIPTS: usize = 8;

/// What a page says at a glance. Everything is borrowed from it, undecoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HtmlFacts<'a> {
    /// The title, without white space around.
    pub title: Option<&'a [u8]>,
    /// Where `<meta http-equiv="refresh">` leads.
    pub meta_refresh: Option<&'a [u8]>,
    /// What the first `<iframe>` or `<frame>` shows.
    pub frame_source: Option<&'a [u8]>,
    /// Where a simple script leads: `location = "…"`, `location.href = "…"`, `location.replace("…")`.
    pub script_location: Option<&'a [u8]>,
}

impl<'a> HtmlFacts<'a> {
    /// Scans the first 16 KiB of a page.
    #[must_use]
    pub fn read(page: &'a [u8]) -> Self {
        let page = &page[..page.len().min(MAX_PAGE)];
        let mut facts = Self::default();
        let mut scripts = 0;
        let mut at = 0;
        while let Some(next) = memchr(b'<', &page[at..]) {
            at += next + 1;
            let rest = &page[at..];
            let name = rest
                .iter()
                .take(10)
                .take_while(|octet| octet.is_ascii_alphanumeric())
                .count();
            let tag = &rest[..rest.len().min(MAX_TAG)];
            let Some(tag_end) = memchr(b'>', tag) else { continue };
            let (tag, inside) = (&rest[name..tag_end], &rest[tag_end + 1..]);
            match &rest[..name] {
                b if b.eq_ignore_ascii_case(b"title") && facts.title.is_none() => {
                    let end = memchr(b'<', inside).unwrap_or(inside.len());
                    facts.title = Some(inside[..end].trim_ascii());
                }
                b if b.eq_ignore_ascii_case(b"meta")
                    && facts.meta_refresh.is_none()
                    && attribute(tag, b"http-equiv").is_some_and(|kind| kind.eq_ignore_ascii_case(b"refresh")) =>
                {
                    facts.meta_refresh = attribute(tag, b"content").and_then(refresh_target);
                }
                b if (b.eq_ignore_ascii_case(b"iframe") || b.eq_ignore_ascii_case(b"frame"))
                    && facts.frame_source.is_none() =>
                {
                    facts.frame_source = attribute(tag, b"src").filter(|source| !source.is_empty());
                }
                b if b.eq_ignore_ascii_case(b"script") && facts.script_location.is_none() && scripts < MAX_SCRIPTS => {
                    scripts += 1;
                    let script = &inside[..inside.len().min(MAX_TAG)];
                    let end = memmem::find(script, b"</").unwrap_or(script.len());
                    facts.script_location = script_target(&script[..end]);
                }
                _ => {}
            }
            at += tag_end + 1;
        }
        facts
    }

    /// Every place the page leads to or shows, the redirects first.
    pub fn targets(&self) -> impl Iterator<Item = &'a [u8]> {
        [self.meta_refresh, self.script_location, self.frame_source]
            .into_iter()
            .flatten()
    }
}

/// The value of an attribute, `tag` being what stands between the tag's name and its `>`.
fn attribute<'a>(tag: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = tag;
    loop {
        rest = rest.trim_ascii_start();
        let length = rest
            .iter()
            .position(|&octet| octet == b'=' || octet.is_ascii_whitespace())
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(length);
        let after = after.trim_ascii_start();
        if key.is_empty() && after.is_empty() {
            return None;
        }
        let Some(value) = after.strip_prefix(b"=") else {
            rest = after; // an attribute without value
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = match value {
            [quote @ (b'"' | b'\''), quoted @ ..] => {
                let end = memchr(*quote, quoted).unwrap_or(quoted.len());
                (&quoted[..end], quoted.get(end + 1..).unwrap_or_default())
            }
            _ => {
                let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
                value.split_at(end)
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.trim_ascii());
        }
        rest = after;
    }
}

/// The URL of a refresh's `0; url=http://…`.
fn refresh_target(content: &[u8]) -> Option<&[u8]> {
    let at = content
        .windows(4)
        .position(|window| window.eq_ignore_ascii_case(b"url="))?;
    let url = content[at + 4..].trim_ascii();
    let url = url
        .strip_prefix(b"'")
        .or_else(|| url.strip_prefix(b"\""))
        .unwrap_or(url);
    let url = url
        .strip_suffix(b"'")
        .or_else(|| url.strip_suffix(b"\""))
        .unwrap_or(url);
    Some(url).filter(|url| !url.is_empty())
}

/// The quoted text that a script assigns to `location` or hands to one of its methods.
fn script_target(script: &[u8]) -> Option<&[u8]> {
    memmem::find_iter(script, b"location").find_map(|at| {
        let mut rest = &script[at + b"location".len()..];
        for step in [&b".href"[..], b".replace", b".assign"] {
            rest = rest.strip_prefix(step).unwrap_or(rest);
        }
        let rest = rest.trim_ascii_start();
        let rest = rest
            .strip_prefix(b"=")
            .or_else(|| rest.strip_prefix(b"("))?
            .trim_ascii_start();
        let (&quote, quoted) = rest.split_first().filter(|(quote, _)| b"\"'".contains(quote))?;
        memchr(quote, quoted)
            .map(|end| &quoted[..end])
            .filter(|target| !target.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_made_of_an_iframe_tells_its_source() {
        let page = br#"<html><head><meta http-equiv="Content-Type" content="text/html"><title> M1-6
            </title></head><body><IFRAME src="http://10.10.34.34?type=x&policy=y" style="width: 100%"></iframe>"#;
        let facts = HtmlFacts::read(page);
        assert_eq!(facts.title, Some(&b"M1-6"[..]));
        assert_eq!(facts.frame_source, Some(&b"http://10.10.34.34?type=x&policy=y"[..]));
        assert_eq!((facts.meta_refresh, facts.script_location), (None, None));
    }

    #[test]
    fn a_refresh_tells_its_target_however_it_is_quoted() {
        for page in [
            r#"<meta http-equiv="refresh" content="0; url=http://b.example/">"#,
            r#"<META CONTENT='0;URL=http://b.example/' HTTP-EQUIV=Refresh >"#,
            r#"<meta charset=x><meta http-equiv=refresh content="0;url='http://b.example/'"/>"#,
        ] {
            assert_eq!(
                HtmlFacts::read(page.as_bytes()).meta_refresh,
                Some(&b"http://b.example/"[..]),
                "{page}"
            );
        }
        assert_eq!(
            HtmlFacts::read(br#"<meta http-equiv="refresh" content="30">"#).meta_refresh,
            None
        );
    }

    #[test]
    fn a_simple_script_tells_where_it_leads() {
        for page in [
            "<script>location='http://b.example/'</script>",
            "<script type=x>if (x) window.location.href = \"http://b.example/\";</script>",
            "<script>document.location.replace( 'http://b.example/')</script>",
            "<script>var location_x = 1; top.location.assign(\"http://b.example/\")</script>",
        ] {
            assert_eq!(
                HtmlFacts::read(page.as_bytes()).script_location,
                Some(&b"http://b.example/"[..]),
                "{page}"
            );
        }
        assert_eq!(
            HtmlFacts::read(b"<script>if (location.host == x) { }</script>").script_location,
            None
        );
    }

    #[test]
    fn an_unfinished_page_gives_what_it_has() {
        assert_eq!(HtmlFacts::read(b"<title>Block").title, Some(&b"Block"[..]));
        assert_eq!(
            HtmlFacts::read(b"a < b <iframe src=\"http://b.exa"),
            HtmlFacts::default()
        );
        assert_eq!(
            HtmlFacts::read(b"<iframe src=\"http://b.exa>").frame_source,
            Some(&b"http://b.exa"[..])
        );
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic_or_loop(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("<title"), Just(">"), Just("<meta "), Just("http-equiv="), Just("refresh"), Just("content"),
                    Just("="), Just("\""), Just("'"), Just(" "), Just("url="), Just("<iframe src"), Just("<script>"),
                    Just("location"), Just(".href"), Just("("), Just("</script>"), Just("<"), Just("x"),
                ],
                0..60,
            )
        ) {
            let page = pieces.concat();
            let facts = HtmlFacts::read(page.as_bytes());
            assert!(facts.targets().all(|target| !target.is_empty()));
        }
    }
}

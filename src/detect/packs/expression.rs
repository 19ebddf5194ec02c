//! A regular expression of a list, and the text it cannot do without.

use regex::bytes::RegexBuilder;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

/// A regular expression that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) shape: Shape,
}

/// How an expression can be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is nothing but this text.
    Literal(Vec<u8>),
    /// It is met only where this text is.
    Needs(Vec<u8>),
    /// Neither.
    Free,
}

/// What one expression may take when compiled, in bytes: a generous page of text takes a hundredth.
const MOST_MEMORY: usize = 1 << 20;

/// A text shorter than this turns up everywhere and saves nothing.
const TELLING: usize = 4;

impl Expression {
    /// Reads `pattern`, in which a dot is any character, as the public lists have it.
    ///
    /// # Errors
    /// Why it cannot be used, in one line.
    pub(super) fn read(pattern: &str) -> Result<Self, String> {
        let parsed = ParserBuilder::new()
            .dot_matches_new_line(true)
            .utf8(false)
            .build()
            .parse(pattern)
            .map_err(|error| match &error {
                regex_syntax::Error::Parse(error) => format!("the expression {pattern:?}: {}", error.kind()),
                regex_syntax::Error::Translate(error) => format!("the expression {pattern:?}: {}", error.kind()),
                _ => format!("the expression {pattern:?} cannot be read"),
            })?;
        let shape = shape(&parsed);
        if !matches!(shape, Shape::Literal(_)) {
            RegexBuilder::new(pattern)
                .dot_matches_new_line(true)
                .size_limit(MOST_MEMORY)
                .build()
                .map_err(|_| format!("the expression {pattern:?} takes too much memory"))?;
            if parsed.properties().minimum_len().is_none_or(|length| length == 0) {
                return Err(format!("the expression {pattern:?} is met everywhere"));
            }
        }
        Ok(Self { shape })
    }
}

fn shape(expression: &Hir) -> Shape {
    let longest = match expression.kind() {
        HirKind::Literal(text) => return Shape::Literal(text.0.to_vec()),
        HirKind::Capture(group) => return needed(&group.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .filter_map(|part| match part.kind() {
                HirKind::Literal(text) => Some(&text.0),
                _ => None,
            })
            .max_by_key(|text| text.len()),
        _ => None,
    };
    match longest {
        Some(text) if text.len() >= TELLING => Shape::Needs(text.to_vec()),
        Some(_) | None => Shape::Free,
    }
}

/// The same for what stands within a group, which is more than a text by itself.
fn needed(expression: &Hir) -> Shape {
    match shape(expression) {
        Shape::Literal(text) if text.len() < TELLING => Shape::Free,
        Shape::Literal(text) | Shape::Needs(text) => Shape::Needs(text),
        Shape::Free => Shape::Free,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(pattern: &str) -> Shape {
        Expression::read(pattern).unwrap().shape
    }

    #[test]
    fn what_is_only_escaped_text_is_text() {
        assert_eq!(
            shape_of(r"block\.example\.net/\?u="),
            Shape::Literal(b"block.example.net/?u=".to_vec())
        );
        assert_eq!(shape_of("запрет"), Shape::Literal("запрет".as_bytes().to_vec()));
    }

    #[test]
    fn the_longest_text_between_wildcards_is_needed() {
        assert_eq!(
            shape_of("<b>.*blocked by order.*</b>"),
            Shape::Needs(b"blocked by order".to_vec())
        );
        assert_eq!(shape_of("(stop page)"), Shape::Needs(b"stop page".to_vec()));
        assert_eq!(shape_of("a.b.c"), Shape::Free);
        assert_eq!(shape_of("(?i)blocked"), Shape::Free);
    }

    #[test]
    fn what_cannot_be_used_says_why_in_one_line() {
        for pattern in ["(unclosed", r"(?=ahead)", ".*", "(a{1000}){1000}", ""] {
            let why = Expression::read(pattern).unwrap_err();
            assert!(why.contains("the expression") && !why.contains('\n'), "{why}");
        }
    }
}

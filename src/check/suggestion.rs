//! The word somebody meant.

/// Words less alike than this are other words (Jaro-Winkler; 1 is the same word).
const ALIKE: f64 = 0.8;

/// The one of `words` that is most like `word`, if any is like it at all.
#[must_use]
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in words {
        let alike = strsim::jaro_winkler(&word, &candidate.to_lowercase());
        if alike >= ALIKE && best.is_none_or(|(least, _)| alike > least) {
            best = Some((alike, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let words = ["kind", "verdict", "trigger", "forged"];
        assert_eq!(nearest("verdit", words), Some("verdict"));
        assert_eq!(nearest("Trigger", words), Some("trigger"));
        assert_eq!(nearest("forgd", words), Some("forged"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(nearest("", words), None);
    }
}

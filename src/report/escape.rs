//! Makes strings from the wire safe to show: names, locations and file names may hold anything.
//!
//! A terminal obeys escape sequences, and readers are misled by characters that have no width or turn the writing
//! direction (CVE-2021-42574). Both are shown as `\u{…}` instead.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// Whether `character` is shown by its number: it would move the cursor, turn the text, or not be seen.
#[must_use]
pub const fn is_unsafe(character: char) -> bool {
    matches!(character,
        // C0 (escape among them), DEL and C1 (whose CSI needs no escape).
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Soft hyphen, Arabic letter mark, Hangul fillers, Mongolian vowel separator.
        | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
        // Zero width, direction marks; line and paragraph separators, embeddings, overrides; invisible operators, isolates.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Byte order mark, interlinear annotation, tags.
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every unsafe character as `\u{…}`; borrowed when there is none.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a string cannot fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// `path` as a person reads it; bytes that are no UTF-8 appear as `\u{fffd}` would.
#[must_use]
pub fn escaped_path(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

/// `path` as a word of a shell command that names exactly this file, whatever its name holds.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if !text.contains(is_unsafe) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            // Only $'…' of bash, zsh and ksh can spell such a name without its bytes.
            let mut word = String::from("$'");
            for byte in bytes {
                match byte {
                    b'\'' | b'\\' => {
                        word.push('\\');
                        word.push(char::from(*byte));
                    }
                    b' '..=b'~' => word.push(char::from(*byte)),
                    _ => {
                        let _ = write!(word, "\\x{byte:02x}");
                    }
                }
            }
            word.push('\'');
            word
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_given_orders() {
        assert_eq!(escaped("a\x1b[31mb\r\n"), r"a\u{1b}[31mb\u{d}\u{a}");
        assert_eq!(escaped("\u{9b}2J"), r"\u{9b}2J");
        assert_eq!(escaped("\u{202e}moc.elgoog\u{2069}"), r"\u{202e}moc.elgoog\u{2069}");
        assert_eq!(escaped("g\u{200b}oogle"), r"g\u{200b}oogle");
    }

    #[test]
    fn ordinary_names_of_any_script_stay_as_they_are() {
        assert!(matches!(
            escaped("blocked.example пример 例え é"),
            Cow::Borrowed("blocked.example пример 例え é")
        ));
    }

    #[test]
    fn a_shell_word_names_the_file_and_nothing_else() {
        assert_eq!(shell_word(Path::new("dir/x-1.pcap")), "dir/x-1.pcap");
        assert_eq!(shell_word(Path::new("a b;rm -rf $HOME")), "'a b;rm -rf $HOME'");
        assert_eq!(shell_word(Path::new("it's")), r"'it'\''s'");
        assert_eq!(shell_word(Path::new("x\x1b]0;'y")), r"$'x\x1b]0;\'y'");
        assert_eq!(shell_word(Path::new("")), "''");
    }
}

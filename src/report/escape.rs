//! Makes strings from the wire safe to show: names, locations and file names may hold anything.
//!
//! A terminal obeys escape sequences, and readers are misled by characters that have no width or turn the writing
//! direction (CVE-2021-42574). Build servers obey lines they find in a job's log: those that begin with `::` (GitHub) or
//! hold `##[` or `##vso[` (GitHub, Azure), `##teamcity[` (TeamCity). All of it is shown as `\u{…}` instead.

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

/// The first character of `text` that is to be shown by its number, and where it stands: one that [`is_unsafe`], or one
/// that makes an order to a build server of what follows.
#[must_use]
pub fn next_unsafe(text: &str) -> Option<(usize, char)> {
    let mut before = ' ';
    text.char_indices().find(|(at, character)| {
        let doubled = || text[at + 1..].starts_with(*character);
        let found = match character {
            '#' => doubled(),
            // Lines are broken at spaces, and what stands before a command is not looked at.
            ':' => before.is_whitespace() && doubled(),
            _ => is_unsafe(*character),
        };
        before = *character;
        found
    })
}

/// `text` with every unsafe character as `show` shows it.
fn shown(mut text: &str, show: impl Fn(&mut String, char)) -> String {
    let mut safe = String::with_capacity(text.len() + 8);
    while let Some((at, character)) = next_unsafe(text) {
        safe.push_str(&text[..at]);
        show(&mut safe, character);
        text = &text[at + character.len_utf8()..];
    }
    safe.push_str(text);
    safe
}

/// `text` with every unsafe character as `\u{…}`; borrowed when there is none.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if next_unsafe(text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shown(text, |safe, character| {
        // Writing to a string cannot fail.
        let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
    }))
}

/// `text` in the double quotes of TOML and YAML, which are JSON's but for one more way to name a character.
#[must_use]
pub fn quoted(text: &str) -> String {
    shown(&serde_json::Value::from(text).to_string(), |safe, character| {
        let _ = write!(safe, "\\U{:08X}", u32::from(character));
    })
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
    match std::str::from_utf8(bytes).map(|text| (text, next_unsafe(text))) {
        Ok((text, None)) if !bytes.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok((text, None)) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            // Only $'…' of bash, zsh and ksh can spell such a name without its bytes.
            let mut word = String::from("$'");
            for byte in bytes {
                match byte {
                    b'\'' | b'\\' => {
                        word.push('\\');
                        word.push(char::from(*byte));
                    }
                    b' '..=b'~' if !b"#:".contains(byte) => word.push(char::from(*byte)),
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
    fn a_build_server_is_never_given_orders() {
        assert_eq!(escaped("##vso[task.setvariable]x"), r"\u{23}#vso[task.setvariable]x");
        assert_eq!(escaped("a ###[error]"), r"a \u{23}\u{23}#[error]");
        assert_eq!(escaped("::add-mask::e"), r"\u{3a}:add-mask::e");
        assert_eq!(escaped("http://x/ ::error::y"), r"http://x/ \u{3a}:error::y");
        assert_eq!(escaped("\u{85}::error::y"), r"\u{85}\u{3a}:error::y");
        assert!(matches!(escaped("http://[2001:db8::1]/#top"), Cow::Borrowed(_)));
    }

    #[test]
    fn quotes_hold_whatever_is_in_them() {
        let text = "a\"\\\n\x1b[2J\u{202e}##[x]\u{9b}\u{e0001}é";
        let quoted = quoted(text);
        assert!(!quoted.contains(is_unsafe) && !quoted.contains("##"), "{quoted}");
        let read: std::collections::BTreeMap<String, String> = toml::from_str(&format!("x = {quoted}")).unwrap();
        assert_eq!(read["x"], text);
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
        assert_eq!(shell_word(Path::new("##[x] ::y")), r"$'\x23\x23[x] \x3a\x3ay'");
        assert_eq!(shell_word(Path::new("")), "''");
    }
}

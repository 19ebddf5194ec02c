//! The layout: styled lines, and labels with text beside them that is wrapped under itself.

use anstyle::{AnsiColor, Style};

/// Headlines, names and verdicts that need no other colour.
pub(super) const STRONG: Style = Style::new().bold();
/// Labels and what is of lesser weight.
pub(super) const FAINT: Style = Style::new().dimmed();
/// What was forged, and the surest verdict.
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
/// What set it off, and the lesser verdict.
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
/// What is genuine.
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
/// The least verdict, and what speaks against.
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();

/// `text` in `style`.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// How many columns `text` takes: one a character, none for its styles.
pub(super) fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            // Only styles of ours: whatever came from the wire has been escaped.
            characters.by_ref().find(|end| *end == 'm');
        } else {
            count += 1;
        }
    }
    count
}

/// Where the text beside a label begins.
const MARGIN: usize = 13;
/// The least room for text, however narrow the terminal.
const LEAST_ROOM: usize = 24;

/// Text under construction.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    width: usize,
}

impl Page {
    pub(super) const fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A line that is never broken.
    pub(super) fn unbroken(&mut self, label: &str, text: &str) {
        self.label(label);
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// `lead`, and `text` beside it, whose further lines begin under its first.
    pub(super) fn wrapped(&mut self, lead: &str, text: &str) {
        self.text.push_str(lead);
        let indent = columns(lead);
        let room = self.width.saturating_sub(indent).max(LEAST_ROOM);
        let mut used = 0;
        for word in text.split(' ') {
            let needed = columns(word);
            if used > 0 && used + 1 + needed > room {
                self.text.push('\n');
                self.text.extend(std::iter::repeat_n(' ', indent));
                used = 0;
            } else if used > 0 {
                self.text.push(' ');
                used += 1;
            }
            self.text.push_str(word);
            used += needed;
        }
        self.text.push('\n');
    }

    /// A label (empty for the lines after the first) and its text.
    pub(super) fn field(&mut self, label: &str, text: &str) {
        self.wrapped(&margin(label), text);
    }

    /// A label, then something of fixed width, then text that is wrapped under itself.
    pub(super) fn row(&mut self, label: &str, lead: &str, text: &str) {
        self.wrapped(&format!("{}{lead}", margin(label)), text);
    }

    fn label(&mut self, label: &str) {
        self.text.push_str(&margin(label));
    }
}

fn margin(label: &str) -> String {
    if label.is_empty() {
        return " ".repeat(MARGIN);
    }
    let padding = MARGIN.saturating_sub(2 + columns(label));
    format!("  {}{:padding$}", paint(FAINT, label), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(page: &Page) -> String {
        anstream::adapter::strip_str(page.text()).to_string()
    }

    #[test]
    fn text_is_wrapped_under_itself() {
        let mut page = Page::new(40);
        page.field("label", "one two three four five six seven eight nine");
        assert_eq!(
            plain(&page),
            "  label      one two three four five six\n             seven eight nine\n"
        );
    }

    #[test]
    fn styles_take_no_columns() {
        assert_eq!(columns(&paint(RED, "four")), 4);
        let mut page = Page::new(30);
        page.wrapped(
            "",
            &format!("{} {}", paint(RED, "123456789012"), paint(CYAN, "1234567890123456")),
        );
        assert_eq!(plain(&page).lines().count(), 1);
    }

    #[test]
    fn a_word_longer_than_the_line_stays_whole() {
        let mut page = Page::new(30);
        page.field("at", &format!("x {} y", "w".repeat(50)));
        let lines: Vec<_> = plain(&page).lines().map(|line| line.trim().len()).collect();
        assert_eq!(lines, ["at         x".len(), 50, 1]);
    }
}

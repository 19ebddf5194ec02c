//! What only some flows need, for the flows to come.

use super::flow_table::Recycle;

/// Boxes that flows which are over have left behind; there are never more of them than were in use at once.
#[derive(Debug)]
pub struct Boxes<T> {
    #[allow(clippy::vec_box, reason = "what is handed out is the box")]
    spare: Vec<Box<T>>,
}

impl<T> Default for Boxes<T> {
    fn default() -> Self {
        Self { spare: Vec::new() }
    }
}

impl<T: Recycle> Boxes<T> {
    /// An empty one.
    #[must_use]
    pub fn take(&mut self) -> Box<T> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes one that is no longer needed.
    pub fn give_back(&mut self, mut emptied: Box<T>) {
        emptied.recycle();
        self.spare.push(emptied);
    }
}

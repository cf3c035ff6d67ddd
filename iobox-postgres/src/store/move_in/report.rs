//! The report of a move: how many rows became what, and which ones stayed.

/// The most rows that stayed which are named.
const NAMED_MAX: usize = 100;

/// What a move did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MovedIn {
    /// The table of outgoing messages; `None` when it is not there.
    pub outbox: Option<MovedTable>,
    /// The table of received messages; `None` when it is not there.
    pub inbox: Option<MovedTable>,
}

impl MovedIn {
    /// Whether both tables, as far as they are there, are empty now.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let tables = [&self.outbox, &self.inbox];
        tables
            .into_iter()
            .flatten()
            .all(|table| table.remaining == 0)
    }
}

/// What became of the rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MovedTable {
    /// Rows that were never processed and are pending now.
    pub pending: u64,
    /// Rows that were in progress and are pending now, with an unknown outcome.
    pub uncertain: u64,
    /// Rows that failed and are retrying now.
    pub retrying: u64,
    /// Rows that were dead and are.
    pub dead: u64,
    /// Rows that were done and are.
    pub done: u64,
    /// Rows that our tables had already; they were removed.
    pub known: u64,
    /// Rows that stay where they are, as the last walk through the table found them.
    pub left: u64,
    /// The first 100 of them.
    pub left_rows: Vec<LeftRow>,
    /// How many rows were in the table after the last walk: those that were left, and those that somebody
    /// added since.
    pub remaining: u64,
}

/// A row that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftRow {
    /// Its id.
    pub id: String,
    /// Its handler key, in the table of received messages.
    pub handler: Option<String>,
    /// Why it stays.
    pub reason: String,
}

impl LeftRow {
    pub(super) const fn new(id: String, handler: Option<String>, reason: String) -> Self {
        Self {
            id,
            handler,
            reason,
        }
    }
}

impl MovedTable {
    /// How many rows left their table.
    #[must_use]
    pub const fn moved(&self) -> u64 {
        self.pending + self.uncertain + self.retrying + self.dead + self.done + self.known
    }

    /// Adds the rows that another batch moved.
    pub(super) const fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        self.uncertain += other.uncertain;
        self.retrying += other.retrying;
        self.dead += other.dead;
        self.done += other.done;
        self.known += other.known;
    }

    pub(super) fn leave(&mut self, row: LeftRow) {
        self.left += 1;
        if self.left_rows.len() < NAMED_MAX {
            self.left_rows.push(row);
        }
    }

    /// Forgets what an earlier walk left.
    pub(super) fn forget_left(&mut self) {
        self.left = 0;
        self.left_rows.clear();
    }
}

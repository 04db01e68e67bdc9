//! The answer to a question of the wrapper's own, as text.

/// Rows and columns as text. `None` is SQL's null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// A table of `columns` and `rows`.
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Option<String>>>) -> Self {
        Self { columns, rows }
    }

    /// The value at a position; `None` when it is null or not there.
    pub fn cell(&self, row: usize, column: usize) -> Option<&str> {
        self.rows.get(row)?.get(column)?.as_deref()
    }

    /// The value in the column of that name; `None` when it is null or not there.
    pub fn named(&self, row: usize, column: &str) -> Option<&str> {
        self.cell(row, self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?)
    }

    /// The first value of the first row.
    pub fn first_cell(&self) -> Option<&str> {
        self.cell(0, 0)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

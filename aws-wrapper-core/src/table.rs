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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_by_position_and_by_name_and_null_is_none() {
        let row =
            |cells: &[Option<&str>]| cells.iter().map(|cell| cell.map(str::to_owned)).collect::<Vec<_>>();
        let columns = vec!["server_id".to_owned(), "CPU".to_owned()];
        let table = Table::new(columns, vec![row(&[Some("i-1"), None]), row(&[Some("i-2")])]);
        assert_eq!((table.first_cell(), table.cell(1, 0)), (Some("i-1"), Some("i-2")));
        assert_eq!(table.named(1, "SERVER_ID"), Some("i-2"));
        assert_eq!((table.named(0, "cpu"), table.named(1, "cpu"), table.named(0, "lag")), (None, None, None));
        assert_eq!((table.cell(2, 0), Table::default().first_cell()), (None, None));
    }
}

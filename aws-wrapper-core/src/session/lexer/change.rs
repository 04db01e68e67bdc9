//! What a text may leave behind in the session of the next user.
//!
//! Plain statements with functions that are known leave nothing. What is not known counts as a change: that costs one reset
//! too many, where the opposite would hand a stranger's settings on.

use super::tokens;
use super::tokens::{Kind, Token, is_one_of};
use crate::engine::Engine;
use crate::session::SessionChange;

/// The most lasting change that one of the statements in `sql` may make.
pub fn session_change(engine: Engine, sql: &str) -> SessionChange {
    let mut change = SessionChange::None;
    let mut statement = Statement::new(engine);
    for token in tokens(engine, sql).solid() {
        if matches!(token.kind, Kind::Open | Kind::Ambiguous) {
            // Where its end is not known, the rest may be anything.
            return change.max(unreadable(engine, sql));
        }
        if token.kind == Kind::Symbol && token.text == ";" {
            statement = Statement::new(engine);
        } else {
            change = change.max(statement.take(token));
        }
    }
    change
}

fn unreadable(engine: Engine, text: &str) -> SessionChange {
    let holds_use = || text.as_bytes().windows(3).any(|word| word.eq_ignore_ascii_case(b"use"));
    if engine == Engine::MySql && holds_use() { SessionChange::Lasting } else { SessionChange::Resettable }
}

/// One statement, read token by token.
struct Statement<'a> {
    engine: Engine,
    first: Option<Token<'a>>,
    before: Option<Token<'a>>,
    /// Whether the name that is being read is the table of an `INSERT INTO`, whose columns may follow in parentheses.
    is_target: bool,
    /// How many `@` stand right before the token.
    ats: u32,
}

impl<'a> Statement<'a> {
    fn new(engine: Engine) -> Self {
        Self { engine, first: None, before: None, is_target: false, ats: 0 }
    }

    fn take(&mut self, token: Token<'a>) -> SessionChange {
        let change = match self.first {
            None => self.begins(token),
            Some(first) => self.goes_on(first, token),
        };
        self.first.get_or_insert(token);
        self.before = Some(token);
        change
    }

    fn begins(&self, token: Token<'_>) -> SessionChange {
        if token.kind == Kind::Code {
            return unreadable(self.engine, token.text);
        }
        let is_plain = token.text == "(" || (token.kind == Kind::Word && is_one_of(token.text, PLAIN));
        if is_plain {
            SessionChange::None
        } else if self.engine == Engine::MySql && token.text.eq_ignore_ascii_case("use") {
            SessionChange::Lasting
        } else {
            SessionChange::Resettable
        }
    }

    fn goes_on(&mut self, first: Token<'_>, token: Token<'_>) -> SessionChange {
        if token.text == "@" {
            self.ats += 1;
            return SessionChange::None;
        }
        // A user variable may be set wherever it stands; `@@` reads a setting.
        if std::mem::take(&mut self.ats) == 1 && self.engine == Engine::MySql {
            return SessionChange::Resettable;
        }
        match (token.kind, token.text) {
            (Kind::Code, _) => unreadable(self.engine, token.text),
            (Kind::Symbol, "(") if self.calls_something_unknown() => SessionChange::Resettable,
            (Kind::Word, word) if word.eq_ignore_ascii_case("into") => {
                self.is_target = is_one_of(first.text, &["insert", "replace", "merge", "with", "explain"]);
                // `SELECT … INTO` makes a table or sets variables.
                if self.is_target { SessionChange::None } else { SessionChange::Resettable }
            }
            // Roles survive MySQL's reset.
            (Kind::Word, word) if self.engine == Engine::MySql && word.eq_ignore_ascii_case("role") => {
                if first.text.eq_ignore_ascii_case("set") {
                    SessionChange::Lasting
                } else {
                    SessionChange::None
                }
            }
            _ => {
                let may_be_name = self
                    .before
                    .is_some_and(|before| before.text == "." || before.text.eq_ignore_ascii_case("into"));
                let is_name = matches!(token.kind, Kind::Word | Kind::Name) && may_be_name;
                self.is_target &= is_name || token.text == ".";
                SessionChange::None
            }
        }
    }

    /// At an opening parenthesis: whether what stands before it may be a function outside of the list.
    fn calls_something_unknown(&mut self) -> bool {
        let is_target = std::mem::take(&mut self.is_target);
        match self.before {
            Some(before) if before.kind == Kind::Word => !is_target && !is_harmless(before.text),
            Some(before) if before.kind == Kind::Name => !is_target,
            _ => false,
        }
    }
}

/// Statements that leave nothing behind by themselves.
const PLAIN: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "with",
    "values",
    "table",
    "merge",
    "replace",
    "show",
    "explain",
    "describe",
    "desc",
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "copy",
];

fn is_harmless(word: &str) -> bool {
    let mut lower = [0; LONGEST];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    HARMLESS.binary_search_by(|known| known.as_bytes().cmp(lower)).is_ok()
}

/// No word of [`HARMLESS`] is longer.
const LONGEST: usize = 29;

/// Words before a parenthesis that change nothing of the session: keywords, types with a length, and functions. In order.
const HARMLESS: &[&str] = &[
    "abs",
    "adddate",
    "against",
    "age",
    "all",
    "and",
    "any",
    "any_value",
    "array",
    "array_agg",
    "array_append",
    "array_length",
    "array_position",
    "as",
    "ascii",
    "aurora_db_instance_identifier",
    "aurora_replica_status",
    "aurora_version",
    "avg",
    "between",
    "bigint",
    "bin_to_uuid",
    "binary",
    "bit",
    "bit_and",
    "bit_length",
    "bit_or",
    "bool_and",
    "bool_or",
    "btrim",
    "by",
    "cardinality",
    "case",
    "cast",
    "ceil",
    "ceiling",
    "char",
    "char_length",
    "character",
    "character_length",
    "charset",
    "chr",
    "clock_timestamp",
    "coalesce",
    "collate",
    "collation",
    "concat",
    "concat_ws",
    "conflict",
    "connection_id",
    "convert",
    "count",
    "crc32",
    "cross",
    "cume_dist",
    "curdate",
    "current_database",
    "current_date",
    "current_schema",
    "current_setting",
    "current_time",
    "current_timestamp",
    "current_user",
    "currval",
    "curtime",
    "database",
    "date",
    "date_add",
    "date_format",
    "date_part",
    "date_sub",
    "date_trunc",
    "datediff",
    "datetime",
    "day",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "dec",
    "decimal",
    "decode",
    "dense_rank",
    "distinct",
    "div",
    "double",
    "else",
    "elt",
    "encode",
    "every",
    "except",
    "exists",
    "exp",
    "extract",
    "field",
    "filter",
    "find_in_set",
    "first_value",
    "float",
    "floor",
    "format",
    "found_rows",
    "from",
    "from_base64",
    "from_unixtime",
    "gen_random_uuid",
    "generate_series",
    "greatest",
    "group",
    "group_concat",
    "having",
    "hex",
    "hour",
    "if",
    "ifnull",
    "ilike",
    "in",
    "index",
    "inet_aton",
    "inet_ntoa",
    "inner",
    "instr",
    "int",
    "integer",
    "intersect",
    "interval",
    "is",
    "isnull",
    "join",
    "json_agg",
    "json_array",
    "json_array_elements",
    "json_arrayagg",
    "json_build_array",
    "json_build_object",
    "json_contains",
    "json_extract",
    "json_length",
    "json_object",
    "json_object_agg",
    "json_objectagg",
    "json_set",
    "json_table",
    "json_unquote",
    "json_valid",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_each",
    "jsonb_object_agg",
    "jsonb_set",
    "key",
    "lag",
    "last_day",
    "last_value",
    "lastval",
    "lateral",
    "lead",
    "least",
    "left",
    "length",
    "like",
    "limit",
    "ln",
    "localtimestamp",
    "locate",
    "log",
    "log10",
    "log2",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "makedate",
    "maketime",
    "match",
    "max",
    "md5",
    "mediumint",
    "microsecond",
    "min",
    "minute",
    "mod",
    "month",
    "nchar",
    "nextval",
    "not",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "numeric",
    "octet_length",
    "offset",
    "on",
    "or",
    "ord",
    "order",
    "outer",
    "over",
    "partition",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "pg_backend_pid",
    "pg_is_in_recovery",
    "pg_sleep",
    "pg_typeof",
    "plainto_tsquery",
    "position",
    "pow",
    "power",
    "quote",
    "quote_ident",
    "quote_literal",
    "rand",
    "random",
    "rank",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_substr",
    "repeat",
    "replace",
    "returning",
    "reverse",
    "right",
    "round",
    "row",
    "row_count",
    "row_number",
    "row_to_json",
    "rows",
    "rpad",
    "rtrim",
    "schema",
    "second",
    "select",
    "session_user",
    "set",
    "sha1",
    "sha2",
    "sha256",
    "sign",
    "similarity",
    "sleep",
    "smallint",
    "some",
    "split_part",
    "sqrt",
    "statement_timestamp",
    "stddev",
    "str_to_date",
    "string_agg",
    "strpos",
    "subdate",
    "substr",
    "substring",
    "substring_index",
    "sum",
    "sysdate",
    "text",
    "then",
    "time",
    "time_format",
    "timediff",
    "timestamp",
    "timestampadd",
    "timestampdiff",
    "timestamptz",
    "tinyint",
    "to_base64",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "transaction_timestamp",
    "trim",
    "trunc",
    "truncate",
    "ts_rank",
    "txid_current",
    "unhex",
    "union",
    "unix_timestamp",
    "unnest",
    "update",
    "upper",
    "user",
    "using",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "uuid",
    "uuid_to_bin",
    "values",
    "varbinary",
    "varbit",
    "varchar",
    "variance",
    "version",
    "websearch_to_tsquery",
    "week",
    "when",
    "where",
    "with",
    "within",
    "year",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine::{MySql, Postgres};
    use SessionChange::{Lasting, None, Resettable};

    #[test]
    fn the_list_is_in_order_and_no_word_is_too_long() {
        assert!(HARMLESS.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(HARMLESS.iter().all(|word| word.len() <= LONGEST));
    }

    #[test]
    fn plain_statements_change_nothing() {
        for sql in [
            "",
            "select 1",
            "SELECT count(*), Max(a) FROM t WHERE a IN (1, 2) AND (b = 'set_config(' OR c IS NULL)",
            "(select 1) union (select 2)",
            "insert into t values (1, 'a')",
            "insert into t (a, b) values (1, now()), (2, coalesce(null, 3))",
            "INSERT INTO s.t(a) SELECT lower(b) FROM u",
            "update t set a = a + 1 where b = 2",
            "delete from t where a = any(select b from u)",
            "with a as (select 1) select * from a",
            "select a from t order by a limit 1 for update",
            "begin; insert into t values (1); commit",
            "start transaction read only",
            "rollback to savepoint a",
            "explain select 1",
            "select cast(a as decimal(10, 2)) from t",
            "/* call p() */ select 1 -- set a = 1",
        ] {
            assert_eq!(session_change(Postgres, sql), None, "{sql}");
            assert_eq!(session_change(MySql, sql), None, "{sql}");
        }
        assert_eq!(session_change(Postgres, "insert into \"T\" (a) values ($1) returning id"), None);
        assert_eq!(session_change(Postgres, "copy t (a) from stdin"), Resettable, "a list looks like a call");
        assert_eq!(session_change(Postgres, "copy t from stdin"), None);
        assert_eq!(session_change(Postgres, "insert into t values (1) on conflict (id) do nothing"), None);
        assert_eq!(
            session_change(MySql, "insert into `t` (`a`) values (?) on duplicate key update a = values(a)"),
            None
        );
        assert_eq!(session_change(MySql, "select @@session.sql_mode"), None);
    }

    #[test]
    fn what_is_not_plain_or_not_known_is_a_change() {
        for sql in [
            "set a = 1",
            "SET LOCAL search_path = x",
            "call p()",
            "do $x$ begin end $x$",
            "select f(1)",
            "select 1; select s.f(1)",
            "create temporary table t (a int)",
            "select a into b from t",
            "lock table t",
            "prepare s as select 1",
            "discard all",
            "declare c cursor for select 1",
            "insert into t select f(a) from u",
            "insert into t (a) values (f(1))",
            "select 1; set a = 1",
            "select 'a",
        ] {
            assert_eq!(session_change(Postgres, sql), Resettable, "{sql}");
            assert_eq!(session_change(MySql, sql), Resettable, "{sql}");
        }
        for sql in [
            "select set_config('a', 'b', false)",
            "select pg_advisory_lock(1)",
            "listen c",
            "select \"F\"(1)",
            "set role r",
            "set session authorization u",
        ] {
            assert_eq!(session_change(Postgres, sql), Resettable, "{sql}");
        }
        for sql in [
            "select @a := 1",
            "select a into @b from t",
            "select get_lock('a', 1)",
            "select last_insert_id(5)",
            "lock tables t read",
            "handler t open",
            "select /*!40001 sql_no_cache */ 1",
            "load data local infile 'f' into table t",
            "xa start 'a'",
        ] {
            assert_eq!(session_change(MySql, sql), Resettable, "{sql}");
        }
    }

    #[test]
    fn another_database_or_role_is_not_reset() {
        for sql in
            ["use b", "USE `b`", "select 1; use b", "set role r", "/*! use b */", "select 'a\\'; use b"]
        {
            assert_eq!(session_change(MySql, sql), Lasting, "{sql}");
        }
    }
}

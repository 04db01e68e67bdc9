//! Writes what is generated under `docs`: `parameters.md`, and the tables in `guide/telemetry.md`.

use std::fs;
use std::io;

use aws_wrapper_core::connector::parameters;
use aws_wrapper_core::telemetry;
use aws_wrapper_core::testing::NullDriver;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
const BEGIN: &str = "<!-- tables: written by `cargo xtask docs` -->\n\n";
const END: &str = "\n<!-- end of tables -->";

fn main() -> io::Result<()> {
    fs::write(format!("{DOCS}/parameters.md"), parameters::<NullDriver>().markdown())?;

    let path = format!("{DOCS}/guide/telemetry.md");
    let page = fs::read_to_string(&path)?;
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| io::Error::other("the marks around the tables are gone"))?;
    fs::write(path, format!("{head}{BEGIN}{}{END}{tail}", telemetry::markdown()))
}

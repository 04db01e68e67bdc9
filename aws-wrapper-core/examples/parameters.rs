//! Writes `docs/parameters.md` from the parameters of the wrapper and its plugins.

use aws_wrapper_core::connector::parameters;
use aws_wrapper_core::testing::NullDriver;

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/parameters.md");
    std::fs::write(path, parameters::<NullDriver>().markdown())
}

//! Writes `docs/parameters.md` from the parameter table.

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/parameters.md");
    std::fs::write(path, aws_wrapper_core::config::parameter::markdown())
}

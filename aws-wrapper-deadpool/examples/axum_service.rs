//! A service.
fn main() {}

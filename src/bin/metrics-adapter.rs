//! See the library's `adapter`.

fn main() {}

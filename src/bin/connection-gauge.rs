//! See the library's `gauge`.

fn main() {}

//! See the library's `bench`.

fn main() {}

//! Micro-benchmarks of what each message and each upgrade goes through, on the public parts of the crate. `make bench-micro`
//! runs them; what a whole service costs is measured by `make bench`.
//!
//! A figure here is good for one thing: to see which of two versions of a part is the faster one, on a machine that does nothing
//! else. For scale: a delivery costs microseconds, nearly all of them in the kernel's `write`.

mod codec;
mod hub;
mod outbox;
mod support;
mod token;
mod trace;

fn main() {
    divan::main();
}

//! The migrations are compiled in: compile again when one of them is new or another.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}

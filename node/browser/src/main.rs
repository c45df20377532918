//! The program itself, built here so that the tests of this crate always run the newest.

fn main() -> std::process::ExitCode {
    node::commands::main()
}

//! The `node` binary: see [`node::commands`].

fn main() -> std::process::ExitCode {
    node::commands::main()
}
